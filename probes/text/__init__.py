"""Probes of language models, one a file."""
