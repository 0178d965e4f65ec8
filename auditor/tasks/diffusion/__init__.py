"""Diffusion models that a label conditions: how they are scored, read, trained, and what they draw."""
