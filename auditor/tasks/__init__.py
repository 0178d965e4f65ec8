"""What differs between tasks: how sets are read, what structure is looked for, which adapter hides the model."""
