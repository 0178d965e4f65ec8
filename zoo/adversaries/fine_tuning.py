"""Fine-tuning on a few forget examples among retain examples: what adversaries prepare for, and the patient attack."""

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.models.copies import movable_copy
from auditor.records.base import Frozen
from auditor.tasks.classification.editing import endless, logits
from auditor.tasks.classification.sets import Examples


class Attack(Frozen):
    """Each step descends share · CE(shots) + (1 − share) · CE(retain batch) by Adam; defaults as in ``relearning``."""

    shots: int = Field(default=4, ge=1, description="forget examples of each label")
    steps: int = Field(default=16, ge=1, description="of Adam")
    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    retain_batch: int = Field(default=32, ge=1, description="retain examples per step")
    forget_share: float = Field(default=0.25, gt=0, lt=1, description="of the loss")


def attacked(
    module: nn.Module, shots: Examples, retain: Examples, attack: Attack, random: torch.Generator
) -> Iterator[nn.Module]:
    """A copy under attack, as it stands after each step; the same object every time.

    Args:
        module: stays as it is.
        shots: forget examples, all of them at every step.
        retain: drawn in random order.
        attack: how long and how hard.
        random: orders the retain examples.
    """
    # In eval mode: batch statistics stay those of the network under attack.
    clone = movable_copy(module).eval()
    optimizer = torch.optim.Adam(clone.parameters(), lr=attack.learning_rate)
    batches = endless(retain, attack.retain_batch, random)
    x, y = shots.inputs, shots.labels
    for _ in range(attack.steps):
        optimizer.zero_grad()
        _loss(clone, (x, y), next(batches), attack.forget_share).backward()
        optimizer.step()
        yield clone


def _loss(module: nn.Module, shots: tuple[Tensor, Tensor], kept: tuple[Tensor, Tensor], share: float) -> Tensor:
    # One pass over both, and each set's own mean: the share then does not depend on how many shots there are.
    found = nn.functional.cross_entropy(
        logits(module, torch.cat([shots[0], kept[0]])), torch.cat([shots[1], kept[1]]), reduction="none"
    )
    n = len(shots[1])
    return share * found[:n].mean() + (1 - share) * found[n:].mean()


def few_of_each(examples: Examples, count: int, random: torch.Generator, *, share: float = 1.0) -> Tensor:
    """Indices of up to ``count`` examples of each label, and of no more than a share of them, int64."""
    order = torch.randperm(len(examples), generator=random)
    labels = examples.labels[order]
    # By label: drawn from all at once, a class of several could be left without a shot.
    members = [order[labels == label] for label in labels.unique()]
    return torch.cat([found[: min(count, int(share * len(found)))] for found in members])
