"""A prompt of trained embeddings: what comes out of weights that stand still."""
