"""Gaussian noise on every weight: a little forgets nothing, much breaks the network."""

import torch
from pydantic import Field
from torch import nn

from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of
from auditor.tasks.classification.sets import Examples


class Settings(Frozen):
    """How much."""

    scale: float = Field(default=0.05, gt=0, description="of the noise, in each tensor's root mean square")


class HeavySettings(Settings):
    """How much."""

    # Twice the weights themselves: nothing of the function is left.
    scale: float = Field(default=2.0, gt=0, description="of the noise, in each tensor's root mean square")


def small_noise(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject: not forgotten by construction."""
    return _noisy(original, settings.scale, seed)


def heavy_noise(
    original: nn.Module, forget: Examples, retain: Examples, settings: HeavySettings, seed: int
) -> nn.Module:
    """The subject: damaged by construction."""
    return _noisy(original, settings.scale, seed)


def _noisy(original: nn.Module, scale: float, seed: int) -> nn.Module:
    module = copy_of(original)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            # By the size of each tensor: one scale for all would drown small layers and spare large ones.
            size = scale * parameter.square().mean().sqrt()
            parameter.add_(size * torch.randn(parameter.shape, generator=random))
    return module
