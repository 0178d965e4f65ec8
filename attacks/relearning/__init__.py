"""How fast the knowledge comes back in training."""
