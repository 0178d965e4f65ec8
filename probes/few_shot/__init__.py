"""What a few forget examples read off a model's features."""
