"""Gaussian noise on the weights: too little to forget, or so much that everything breaks."""

import torch
from pydantic import Field
from torch import nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """Too little to forget."""

    scale: float = Field(default=0.02, gt=0, description="standard deviation, in each weight's own")


class HeavySettings(Settings):
    """So much that everything breaks."""

    scale: float = Field(default=2.0, gt=0, description="standard deviation, in each weight's own")


def small_noise(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: not forgotten."""
    return _noisy(original, settings, seed)


def heavy_noise(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: damaged."""
    return _noisy(original, settings, seed)


def _noisy(original: LanguageModel, settings: Settings, seed: int) -> nn.Module:
    module = copy_of(original)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        # Matrices only: the weights of a fresh norm are all alike, with no spread to take a scale from.
        for weight in (w for w in module.parameters() if w.ndim > 1):
            weight.add_(settings.scale * weight.std() * torch.randn(weight.shape, generator=random))
    return module
