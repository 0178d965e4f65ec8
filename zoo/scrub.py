"""SCRUB: away from the original on forget, towards it on retain (Kurmanji et al. 2023, arXiv 2302.09880)."""

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of, descend, logits, shuffled
from auditor.tasks.classification.sets import Examples
from auditor.zoo.bad_teacher import distillation


class Settings(Frozen):
    """Epochs that ascend on forget and then descend on retain, then epochs that only descend."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    max_epochs: int = Field(default=8, ge=1, description="epochs that ascend first")
    min_epochs: int = Field(default=2, ge=0, description="epochs that only descend, after those")
    distil_weight: float = Field(default=0.5, ge=0, description="α, of KL to the original on retain")
    task_weight: float = Field(default=1.0, ge=0, description="γ, of cross-entropy on retain")
    # Divergence has no upper bound: ascent would go on after the class is forgotten and take retain along.
    divergence_cap: float = Field(default=8.0, gt=0, description="nats on forget beyond which ascent pauses")
    batch_size: int = Field(default=64, ge=1, description="retain examples")
    # Smaller than for retain, since the forget set is: an epoch needs several steps of ascent.
    forget_batch_size: int = Field(default=16, ge=1)


def scrub(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance. The published form has no cap on the divergence."""
    module, teacher = copy_of(original), copy_of(original)
    random = torch.Generator().manual_seed(seed)

    def divergence(x: Tensor) -> Tensor:
        with torch.no_grad():
            target = logits(teacher, x)
        return distillation(logits(module, x), target)

    def loss(x: Tensor, y: Tensor, away: bool) -> Tensor:
        if away:
            return -divergence(x).clamp_max(settings.divergence_cap)
        task = nn.functional.cross_entropy(logits(module, x), y)
        return settings.distil_weight * divergence(x) + settings.task_weight * task

    def batches() -> Iterator[tuple[Tensor, Tensor, bool]]:
        for epoch in range(settings.max_epochs + settings.min_epochs):
            # Ascent first in each epoch, and epochs without it last: the descent repairs what the ascent broke.
            if epoch < settings.max_epochs:
                yield from ((x, y, True) for x, y in shuffled(forget, settings.forget_batch_size, random))
            yield from ((x, y, False) for x, y in shuffled(retain, settings.batch_size, random))

    descend(module.parameters(), batches(), loss, settings.learning_rate)
    return module.eval()
