"""Gradient ascent on the forget set, all layers, stopped once it is forgotten (Thudi et al. 2022, arXiv 2109.13398)."""

import torch
from pydantic import Field
from torch import nn

from auditor.records.base import Frozen
from auditor.tasks.classification.editing import accuracy, copy_of, logits, shuffled
from auditor.tasks.classification.sets import Examples


class Settings(Frozen):
    """Plain SGD uphill with the gradient's norm clipped to 1."""

    learning_rate: float = Field(default=1e-2, gt=0)
    max_steps: int = Field(default=300, ge=1)
    batch_size: int = Field(default=32, ge=1)
    target: float = Field(default=0.005, ge=0, le=1, description="forget accuracy at which to stop")


def gradient_ascent(
    original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int
) -> nn.Module:
    """The subject."""
    module = copy_of(original)
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(module.parameters(), lr=settings.learning_rate)
    steps = 0
    while steps < settings.max_steps:
        for x, y in shuffled(forget, settings.batch_size, random):
            optimizer.zero_grad()
            (-nn.functional.cross_entropy(logits(module, x), y)).backward()
            # Uphill the loss has no end, and without a clip the steps would grow with it.
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            steps += 1
            if accuracy(module, forget) <= settings.target or steps >= settings.max_steps:
                return module
    return module
