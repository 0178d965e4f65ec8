"""Fine-tuning on retain with an ℓ1 penalty that sparsifies the weights (Jia et al. 2023, arXiv 2304.04934)."""

from collections.abc import Iterator
from itertools import islice

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of, descend, endless, logits
from auditor.tasks.classification.sets import Examples


class Settings(Frozen):
    """Fine-tuning; the penalty falls linearly to 0 over the first part of the steps, as the paper recommends."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    penalty: float = Field(default=0.5, gt=0, description="γ at the start, of the sum of absolute weights")
    penalised: float = Field(default=0.5, gt=0, le=1, description="share of the steps that the penalty acts in")
    steps: int = Field(default=200, ge=1)
    batch_size: int = Field(default=64, ge=1)


def l1_sparse(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance.

    The penalty acts by its proximal step, which sets small weights to exactly 0.
    """
    module = copy_of(original)
    batches = endless(retain, settings.batch_size, torch.Generator().manual_seed(seed))
    # The later steps repair on retain what the penalty took from it.
    last = max(1, round(settings.penalised * settings.steps))

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits(module, x), y)

    def shrinking() -> Iterator[tuple[Tensor, Tensor]]:
        for step, batch in enumerate(islice(batches, settings.steps)):
            # The step of Adam is taken while this waits; the proximal step belongs after it.
            yield batch
            shrink(module, settings.learning_rate * settings.penalty * max(0.0, 1 - step / last))

    descend(module.parameters(), shrinking(), loss, settings.learning_rate)
    return module.eval()


def shrink(module: nn.Module, amount: float) -> None:
    """Soft threshold: every parameter moves towards 0 by ``amount``, and no further."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.sign() * (parameter.abs() - amount).clamp_min(0))
