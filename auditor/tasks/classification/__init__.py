"""Image classifiers: any torch network from images to one logit per class."""
