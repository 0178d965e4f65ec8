"""What the decoys share: a copy whose training is stopped once the model does as badly as on targets of others."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from auditor.models.copies import movable_copy
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.user_code import UserTask

_MEASURED = 512
_EVERY = 10
_LARGEST_STEP = 1.0


def mean_score(code: UserTask, module: nn.Module, examples: CustomExamples) -> float:
    """Mean score of at most 512 examples."""
    few = examples.take(torch.arange(min(len(examples), _MEASURED)))
    return float(code.scores(module.eval(), few.inputs, few.targets).mean())


def with_targets_of(examples: CustomExamples, others: CustomExamples, random: torch.Generator) -> CustomExamples:
    """The same inputs, each with the target of a random example of another set."""
    picks = torch.randint(len(others), (len(examples),), generator=random)
    return CustomExamples(inputs=examples.inputs, targets=others.targets[picks])


def endless(examples: CustomExamples, size: int, random: torch.Generator) -> Iterator[CustomExamples]:
    """Epoch after epoch of batches in random order."""
    while True:
        for index in torch.randperm(len(examples), generator=random).split(size):
            yield examples.take(index)


def trained_until(
    module: nn.Module,
    parameters: Sequence[nn.Parameter],
    loss: Callable[[], Tensor],
    done: Callable[[], bool],
    *,
    learning_rate: float,
    steps: int,
) -> nn.Module:
    """Steps of Adam, clipped, until ``done`` says so or ``steps`` are through; no gradients are left anywhere."""
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    for step in range(steps):
        # Not backward, which would leave gradients in the weights that stand still.
        gradients = torch.autograd.grad(loss(), parameters, allow_unused=True, materialize_grads=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(parameters, _LARGEST_STEP)
        optimizer.step()
        if step % _EVERY == _EVERY - 1 and done():
            break
    optimizer.zero_grad(set_to_none=True)
    return module.eval()


def copy_of(original: nn.Module) -> nn.Module:
    """An independent copy in eval mode, nothing frozen."""
    return movable_copy(original).eval()
