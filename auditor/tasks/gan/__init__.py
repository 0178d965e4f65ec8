"""GANs that a label conditions: a generator, and the discriminator that it was trained against, audited as one."""
