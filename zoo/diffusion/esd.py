"""ESD: erasing a concept by guidance with its sign turned (Gandikota et al. 2023, arXiv 2303.07345)."""

from itertools import islice

import torch
from pydantic import Field
from torch import nn

from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.diffusion.editing import guided_away, noisy_batches, predicted, student_of


class Settings(Frozen):
    """The fine-tuning."""

    strength: float = Field(default=1.0, ge=0, description="η, of the guidance away from the concept")
    learning_rate: float = Field(default=5e-4, gt=0, description="of Adam")
    steps: int = Field(default=150, ge=1)
    batch_size: int = Field(default=32, ge=1)


def esd(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject, whose truth is not known in advance; retain is not looked at.

    All weights descend ‖ε_θ(x_t, c) − [ε*(x_t, ∅) − η(ε*(x_t, c) − ε*(x_t, ∅))]‖², c the forgotten label and ε* the
    original. The paper draws x_t with the model itself; here it is a forget example with noise.
    """
    student, teacher = student_of(original)
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(student.module.parameters(), lr=settings.learning_rate)
    for batch in islice(noisy_batches(teacher, forget, settings.batch_size, random), settings.steps):
        optimizer.zero_grad()
        aim = guided_away(teacher, batch, settings.strength)
        (predicted(student, batch) - aim).square().mean().backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return student.module
