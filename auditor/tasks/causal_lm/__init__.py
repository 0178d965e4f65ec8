"""Causal language models: any decoder-only transformers model, audited on facts."""
