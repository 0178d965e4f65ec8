"""Unlearning methods for class-conditional GANs, and the world of digits that they are tried on."""
