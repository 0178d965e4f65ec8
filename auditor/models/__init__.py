"""Models as files and as networks: the line-up, what made each, training, rank-limited copies."""
