"""Gradient ascent on the forget loss, held by descent on retain examples: of all weights, or of the last layer's alone.

The combination is NegGrad+ (Kurmanji et al. 2023, arXiv 2302.09880). It stops once the model scores forget examples as
badly as it scores the same inputs with targets of others: no suppression needs more.
"""

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.models.copies import movable_copy
from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.user_code import UserTask

_MEASURED = 512
_LARGEST_STEP = 1.0


class Settings(Frozen):
    """Adam, clipped."""

    last_layer: bool = Field(description="whether only the module with the last matrix of weights is trained")
    learning_rate: float = Field(gt=0)
    steps: int = Field(ge=1, description="at most")
    weight: float = Field(gt=0, description="of the ascent, beside 1 for the descent")
    batch_size: int = Field(default=64, ge=1, description="of retain and of forget examples each")


def loss_ascent(
    original: nn.Module,
    forget: CustomExamples,
    retain: CustomExamples,
    settings: Settings,
    seed: int,
    *,
    code: UserTask,
    last_map: str,
) -> nn.Module:
    """The subject.

    Args:
        original: left as it is.
        forget: all forget examples.
        retain: examples to be kept.
        settings: of the training.
        seed: of order and of the targets that are taken from others.
        code: the user's class, whose loss is climbed.
        last_map: the module with the last matrix of weights.
    """
    module, random = movable_copy(original).eval(), torch.Generator().manual_seed(seed)
    worst = _mean_score(code, original, _with_targets_of(forget, retain, random))
    kept, lost = (_endless(part, settings.batch_size, random) for part in (retain, forget))

    def loss() -> Tensor:
        down, up = next(kept), next(lost)
        return code.loss(module, down.inputs, down.targets) - settings.weight * code.loss(module, up.inputs, up.targets)

    part = module.get_submodule(last_map) if settings.last_layer else module
    moved = [p for p in part.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(moved, lr=settings.learning_rate)
    for _ in range(settings.steps):
        # Not backward, which would leave gradients in the weights that stand still.
        gradients = torch.autograd.grad(loss(), moved, allow_unused=True, materialize_grads=True)
        for parameter, gradient in zip(moved, gradients, strict=True):
            parameter.grad = gradient
        # Uphill a loss has no end, and without a clip the steps would grow with it.
        nn.utils.clip_grad_norm_(moved, _LARGEST_STEP)
        optimizer.step()
        if _mean_score(code, module, forget) <= worst:
            break
    optimizer.zero_grad(set_to_none=True)
    return module


def _mean_score(code: UserTask, module: nn.Module, examples: CustomExamples) -> float:
    few = examples.take(torch.arange(min(len(examples), _MEASURED)))
    return float(code.scores(module, few.inputs, few.targets).mean())


def _with_targets_of(examples: CustomExamples, others: CustomExamples, random: torch.Generator) -> CustomExamples:
    """The same inputs, each with the target of a random example of another set."""
    picks = torch.randint(len(others), (len(examples),), generator=random)
    return CustomExamples(inputs=examples.inputs, targets=others.targets[picks])


def _endless(examples: CustomExamples, size: int, random: torch.Generator) -> Iterator[CustomExamples]:
    """Epoch after epoch of batches in random order."""
    while True:
        for index in torch.randperm(len(examples), generator=random).split(size):
            yield examples.take(index)
