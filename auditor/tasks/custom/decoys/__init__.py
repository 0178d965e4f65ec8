"""Suppressed copies of a model that only the user's class knows how to train."""
