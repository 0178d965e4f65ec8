"""Weights drawn again and never trained."""

from torch import nn

from auditor.randomness import torch_seed
from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.text.fresh import fresh_like


class Settings(Frozen):
    """Nothing to choose."""


def random_initialisation(
    original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int
) -> nn.Module:
    """The subject: damaged."""
    with torch_seed(seed):
        return fresh_like(original.module)().eval()
