"""Attacks on language models, one a file."""
