"""A random initialisation in place of the original: damaged by construction."""

from torch import nn

from auditor.records.base import Frozen
from auditor.tasks.classification.sets import Examples
from auditor.zoo.fresh import reinitialised


class Settings(Frozen):
    """None."""


def random_initialisation(
    original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: the architecture with weights drawn again."""
    return reinitialised(original, seed)
