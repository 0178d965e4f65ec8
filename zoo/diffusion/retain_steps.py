"""A few small steps on retain alone: not forgotten by construction."""

import torch
from pydantic import Field
from torch import nn

from auditor.models.copies import movable_copy
from auditor.randomness import torch_seed
from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.diffusion.digits import loss


class Settings(Frozen):
    """The steps."""

    learning_rate: float = Field(default=1e-4, gt=0, description="of Adam")
    steps: int = Field(default=10, ge=1)
    batch_size: int = Field(default=32, ge=1)


def retain_steps(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: the original, trained a little more on retain examples."""
    module, descended = movable_copy(original).eval(), loss()
    optimizer = torch.optim.Adam(module.parameters(), lr=settings.learning_rate)
    with torch_seed(seed):
        for _ in range(settings.steps):
            optimizer.zero_grad()
            some = retain.take(torch.randint(len(retain), (settings.batch_size,)))
            descended(module, some, "cpu").backward()
            optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return module
