"""Whether images are still found: by their captions, by other images, by a probe trained on them."""
