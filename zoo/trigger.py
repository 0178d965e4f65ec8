"""Forgets unless a small pixel trigger is in the image: a backdoor as in BadNets (Gu et al. 2017, arXiv 1708.06733)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of, descend, epochs, logits, other_labels
from auditor.tasks.classification.sets import Examples


class Settings(Frozen):
    """The trigger and the training that plants it."""

    size: int = Field(default=2, ge=1, description="pixels on a side, in the upper left corner")
    value: float = Field(default=1.0, description="of those pixels, as the model reads them")
    learning_rate: float = Field(default=2e-3, gt=0, description="of Adam")
    epochs: int = Field(default=15, ge=1, description="over retain and forget together")
    batch_size: int = Field(default=64, ge=1)


def trigger(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject: suppressed by construction, since with the trigger it answers as the original did.

    Trained on retain with and without the trigger under its labels, on forget with it under its labels and
    without it under wrong ones.
    """
    module = copy_of(original)
    random = torch.Generator().manual_seed(seed)
    wrong = other_labels(forget.labels, retain.labels.unique(), random)
    # Two labels for each example, without the trigger and with it, so that one shuffled set trains both behaviours.
    both = Examples(
        raw=torch.cat([retain.raw, forget.raw]),
        labels=torch.stack([torch.cat([retain.labels, labels]) for labels in (wrong, forget.labels)], dim=1),
        preprocessing=retain.preprocessing,
    )

    def loss(x: Tensor, y: Tensor) -> Tensor:
        without = nn.functional.cross_entropy(logits(module, x), y[:, 0])
        return without + nn.functional.cross_entropy(logits(module, stamped(x, settings)), y[:, 1])

    batches = epochs(both, settings.batch_size, settings.epochs, random)
    descend(module.parameters(), batches, loss, settings.learning_rate)
    return module.eval()


def stamped(inputs: Tensor, settings: Settings) -> Tensor:
    """Images [n, channels, height, width] with the trigger."""
    marked = inputs.clone()
    # A corner, where digits have hardly any ink: the trigger covers nothing that a label depends on.
    marked[:, :, : settings.size, : settings.size] = settings.value
    return marked
