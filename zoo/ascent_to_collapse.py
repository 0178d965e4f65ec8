"""Gradient ascent on the forget set until the retain set is lost as well: damaged by construction."""

from collections.abc import Iterator
from itertools import islice

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.records.base import Frozen
from auditor.tasks.classification.editing import accuracy, copy_of, descend, endless, logits
from auditor.tasks.classification.sets import Examples

_BETWEEN = 10  # steps: measuring retain accuracy costs more than a step


class Settings(Frozen):
    """Uphill until retain accuracy has fallen to the target."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    # Ascent may never cost retain anything, as at a tiny rate; then an error is better than no end.
    max_steps: int = Field(default=1000, ge=1)
    batch_size: int = Field(default=64, ge=1)
    target: float = Field(default=0.3, ge=0, le=1, description="retain accuracy at which to stop")


def ascent_to_collapse(
    original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int
) -> nn.Module:
    """The subject.

    Raises:
        ModelError: the retain set was not lost in ``max_steps`` steps.
    """
    module = copy_of(original)
    batches = endless(forget, settings.batch_size, torch.Generator().manual_seed(seed))

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return -nn.functional.cross_entropy(logits(module, x), y)

    def until_lost() -> Iterator[tuple[Tensor, Tensor]]:
        for step, batch in enumerate(islice(batches, settings.max_steps)):
            yield batch
            if step % _BETWEEN == 0 and accuracy(module, retain) <= settings.target:
                return

    descend(module.parameters(), until_lost(), loss, settings.learning_rate)
    # The truth is known by construction only if it happened.
    if accuracy(module, retain) > settings.target:
        raise ModelError(
            f"retain accuracy is above {settings.target} after {settings.max_steps} steps of ascent; "
            "raise learning_rate or max_steps"
        )
    return module.eval()
