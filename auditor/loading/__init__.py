"""Loading what a stranger may have sent: checkpoints, architectures, transformers directories.

This file imports nothing, so that the reading process starts with no more than it needs.
"""
