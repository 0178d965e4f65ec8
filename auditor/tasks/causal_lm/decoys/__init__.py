"""Suppressed copies of a language model: what makes them, and how strong."""
