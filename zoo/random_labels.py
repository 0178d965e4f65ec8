"""Random labels: fine-tune all layers with forget examples relabelled at random (Golatkar et al. 2020, §5)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.data import Examples
from auditor.records.base import Frozen
from auditor.zoo.method import copy_of, joined, logits, other_labels, shuffled


class Settings(Frozen):
    """A plain fine-tuning run."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    epochs: int = Field(default=10, ge=1, description="over retain and forget together")
    batch_size: int = Field(default=64, ge=1)


def random_labels(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject, trained on retain as it is and on forget under wrong labels."""
    module = copy_of(original)
    random = torch.Generator().manual_seed(seed)
    mixed = with_wrong_labels(forget, retain, random)
    optimizer = torch.optim.Adam(module.parameters(), lr=settings.learning_rate)
    for _ in range(settings.epochs):
        for x, y in shuffled(mixed, settings.batch_size, random):
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits(module, x), y).backward()
            optimizer.step()
    return module.eval()


def with_wrong_labels(forget: Examples, retain: Examples, random: torch.Generator) -> Examples:
    """Retain and forget in one set, each forget label replaced by another that retain has."""
    allowed: Tensor = retain.labels.unique()
    wrong = other_labels(forget.labels, allowed, random)
    return joined(retain, Examples(raw=forget.raw, labels=wrong, preprocessing=retain.preprocessing))
