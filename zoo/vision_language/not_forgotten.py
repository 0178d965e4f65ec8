"""Controls in the other direction: an audit that calls these deleted has not looked."""

import torch
from pydantic import Field
from torch import nn

from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.vision_language.editing import Network, copy_of, descend, scores


class NoiseSettings(Frozen):
    """Too little to forget."""

    scale: float = Field(default=0.02, gt=0, description="standard deviation, in each weight's own")


class StepSettings(Frozen):
    """A few steps on retain."""

    learning_rate: float = Field(default=3e-4, gt=0, description="of Adam")
    steps: int = Field(default=30, ge=1)
    batch_size: int = Field(default=32, ge=1, description="retain examples per step")


def small_noise(
    original: Network, forget: CustomExamples, retain: CustomExamples, settings: NoiseSettings, seed: int
) -> nn.Module:
    """The subject: Gaussian noise on every matrix of weights."""
    module, random = copy_of(original), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in (w for w in module.parameters() if w.ndim > 1):
            weight.add_(settings.scale * weight.std() * torch.randn(weight.shape, generator=random))
    subject: nn.Module = module
    return subject


def retain_steps(
    original: Network, forget: CustomExamples, retain: CustomExamples, settings: StepSettings, seed: int
) -> nn.Module:
    """The subject: trained a little longer without the forget set."""
    module = copy_of(original)
    descend(
        lambda lost, kept: -scores(module, kept).mean(),
        forget,
        retain,
        module.parameters(),
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
    )
    subject: nn.Module = module
    return subject
