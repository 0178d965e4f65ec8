"""From scores to evidence: what every model is held against, with what uncertainty. Loads no model, no file."""
