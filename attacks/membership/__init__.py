"""Whether forget examples can be told from examples never trained on."""
