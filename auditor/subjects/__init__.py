"""Subjects: one adapter per task hides the model from the checks."""
