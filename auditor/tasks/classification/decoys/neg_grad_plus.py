"""NegGrad+: descend on retain and ascend on forget, all layers (Kurmanji et al. 2023, arXiv 2302.09880)."""

import torch
from pydantic import Field
from torch import nn

from auditor.records.base import Frozen
from auditor.tasks.classification.editing import accuracy, copy_of, logits, shuffled
from auditor.tasks.classification.sets import Examples


class Settings(Frozen):
    """Loss = CE(retain) − weight · CE(forget), while CE(forget) is below the cap."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    weight: float = Field(default=0.3, gt=0, description="of the ascent")
    loss_cap: float = Field(default=8.0, gt=0, description="forget loss, nats, beyond which ascent pauses")
    max_steps: int = Field(default=300, ge=1)
    extra_steps: int = Field(default=20, ge=0, description="after forget accuracy has fallen to the target")
    target: float = Field(default=0.005, ge=0, le=1, description="forget accuracy to reach")
    batch_size: int = Field(default=64, ge=1)


def neg_grad_plus(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance, and the auditor finds such subjects suppressed."""
    return trained(copy_of(original), forget, retain, settings, seed)


def trained(module: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """A copy of the original after the steps."""
    optimizer = torch.optim.Adam(module.parameters(), lr=settings.learning_rate)
    random = torch.Generator().manual_seed(seed)
    left = settings.max_steps
    while left > 0:
        both = zip(
            shuffled(retain, settings.batch_size, random),
            shuffled(forget, settings.batch_size // 2, random),
            # The sets differ in length: a round ends with the shorter one, and both are shuffled anew.
            strict=False,
        )
        for (x, y), (forget_x, forget_y) in both:
            forget_loss = nn.functional.cross_entropy(logits(module, forget_x), forget_y)
            # The forget loss has no upper end: beyond the cap it would drown retain and wreck the network.
            weight = settings.weight if forget_loss.item() < settings.loss_cap else 0.0
            loss = nn.functional.cross_entropy(logits(module, x), y) - weight * forget_loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            left -= 1
        # Once: where the end is nearer already, the extra steps are running.
        if left > settings.extra_steps and accuracy(module, forget) <= settings.target:
            left = settings.extra_steps
    return module.eval()
