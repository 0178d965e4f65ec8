"""Language models: unlearning methods, decoys, and a world of fictional people."""
