"""Suppressed copies of a classifier: what makes them, and how strong."""
