"""Example sets from files, folders and the user's own datasets."""
