"""How much of the knowledge is left in each layer: activations put into the original."""
