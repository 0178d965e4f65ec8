"""Recommenders of known truth: a small world of tastes, a network for it, and the methods that unlearn in it."""
