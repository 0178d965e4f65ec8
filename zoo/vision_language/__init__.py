"""Pairs of known truth for models that answer questions about pictures, and the methods that make them."""
