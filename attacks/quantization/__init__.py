"""What returns when weights are rounded."""
