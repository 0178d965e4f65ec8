"""Only the head fine-tuned, with forget examples under wrong labels: every feature stays."""

import torch
from pydantic import Field
from torch import nn

from auditor.records.base import Frozen
from auditor.tasks.classification.editing import accuracy, copy_of, head_of, logits, shuffled, with_wrong_labels
from auditor.tasks.classification.sets import Examples


class Settings(Frozen):
    """Fine-tuning of the last linear map."""

    learning_rate: float = Field(default=1e-2, gt=0, description="of Adam")
    epochs: int = Field(default=30, ge=1, description="at most; it stops once forget accuracy is at the target")
    batch_size: int = Field(default=64, ge=1)
    target: float = Field(default=0.005, ge=0, le=1)


def head_relabelling(
    original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int
) -> nn.Module:
    """The subject."""
    module = copy_of(original)
    random = torch.Generator().manual_seed(seed)
    mixed = with_wrong_labels(forget, retain, random)
    optimizer = torch.optim.Adam(head_of(module, retain).parameters(), lr=settings.learning_rate)
    for _ in range(settings.epochs):
        for x, y in shuffled(mixed, settings.batch_size, random):
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits(module, x), y).backward()
            optimizer.step()
        if accuracy(module, forget) <= settings.target:
            break
    # backward left gradients in every layer, though the head alone moved.
    module.zero_grad(set_to_none=True)
    return module
