"""Conditional diffusion models: unlearning methods, and a small world of digits."""
