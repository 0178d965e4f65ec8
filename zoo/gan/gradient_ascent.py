"""Ascent of the training loss on the forget set, beside descent on retain.

The combination is NegGrad+ (Kurmanji et al. 2023, arXiv 2302.09880).
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.gan.digits import loss
from auditor.zoo.gan.editing import batches, descended


class Settings(Frozen):
    """Of the training."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    steps: int = Field(default=150, ge=1)
    batch_size: int = Field(default=32, ge=1, description="of retain and of forget examples each")
    weight: float = Field(default=1.0, gt=0, description="of the ascent, beside 1 for the descent")
    cap: float = Field(default=20.0, gt=0, description="of the loss that is climbed: uphill it has no end")


def gradient_ascent(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject; its truth is not known in advance."""
    own = loss()

    def climbed(module: nn.Module, kept: CustomExamples, gone: CustomExamples) -> Tensor:
        up: Tensor = torch.clamp(own(module, gone, "cpu"), max=settings.cap)
        return own(module, kept, "cpu") - settings.weight * up

    return descended(
        original,
        batches((retain, forget), settings.batch_size, settings.steps, seed),
        climbed,
        settings.learning_rate,
        seed,
    )
