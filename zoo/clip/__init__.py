"""Unlearning methods for dual encoders, and the world they are tried on: digits drawn in several ways."""
