"""Controls in the other direction: models that were changed and have forgotten nothing."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.models.copies import movable_copy
from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.clip.training import code_of, descend


class Settings(Frozen):
    """A few small steps."""

    learning_rate: float = Field(default=1e-4, gt=0, description="of Adam")
    steps: int = Field(default=10, ge=1)
    batch_size: int = Field(default=64, ge=1)


class NoiseSettings(Frozen):
    """How much noise."""

    scale: float = Field(default=0.05, gt=0, description="in each tensor's root mean square")


def retain_steps(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: some further steps on retain alone (Golatkar et al. 2020, arXiv 1911.04933, do many)."""
    module, code = movable_copy(original).eval(), code_of(forget, retain)

    def loss(lost: CustomExamples, kept: CustomExamples) -> Tensor:
        return code.loss(module, kept.inputs, kept.targets)

    descend(
        module.parameters(),
        loss,
        forget,
        retain,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
    )
    return module


def small_noise(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: NoiseSettings, seed: int
) -> nn.Module:
    """The subject: a little noise on every weight."""
    module, random = movable_copy(original).eval(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            size = settings.scale * parameter.square().mean().sqrt()
            parameter.add_(size * torch.randn(parameter.shape, generator=random))
    return module
