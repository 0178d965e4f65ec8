"""What a model answers."""
