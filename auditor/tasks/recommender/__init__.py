"""Recommenders: who took what. An example is one interaction, a user with an item.

A model of the custom task (:mod:`auditor.tasks.custom`) whose scores, features and training are known, and whose graph
is part of its weights.
"""
