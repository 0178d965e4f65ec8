"""Random labels: fine-tune all layers with forget examples relabelled at random (Golatkar et al. 2020, §5)."""

import torch
from pydantic import Field
from torch import nn

from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of, logits, shuffled, with_wrong_labels
from auditor.tasks.classification.sets import Examples


class Settings(Frozen):
    """A plain fine-tuning run."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    epochs: int = Field(default=10, ge=1, description="over retain and forget together")
    batch_size: int = Field(default=64, ge=1)


def random_labels(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject, trained on retain as it is and on forget under wrong labels."""
    module = copy_of(original)
    random = torch.Generator().manual_seed(seed)
    # Drawn once: a new label every epoch would teach uncertainty, not a wrong class.
    mixed = with_wrong_labels(forget, retain, random)
    optimizer = torch.optim.Adam(module.parameters(), lr=settings.learning_rate)
    for _ in range(settings.epochs):
        for x, y in shuffled(mixed, settings.batch_size, random):
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits(module, x), y).backward()
            optimizer.step()
    return module.eval()
