"""What ρ = 0 stands for: one module for each null, tried in the order of ``NULLS``."""

from auditor.inference.compared import Null
from auditor.inference.nulls import chance, control_concepts, internal, references

NULLS: tuple[Null, ...] = (control_concepts, references, internal, chance)
"""The first that has something to say is the null: the most demanding question first, then the best evidence."""
