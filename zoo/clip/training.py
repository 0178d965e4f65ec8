"""What methods for dual encoders share: the loss of an audit of these sets, and steps of Adam on some weights."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from auditor.tasks.clip.code import DualEncoderCode, captions_of
from auditor.tasks.custom.sets import CustomExamples

Loss = Callable[[CustomExamples, CustomExamples], Tensor]
"""Of a batch of forget and one of retain examples."""
_MEASURED = 512


def code_of(forget: CustomExamples, retain: CustomExamples) -> DualEncoderCode:
    """What scores and trains models on these sets."""
    return DualEncoderCode(captions_of([forget.targets, retain.targets]))


def descend(
    weights: Iterable[nn.Parameter],
    loss: Loss,
    forget: CustomExamples,
    retain: CustomExamples,
    *,
    rate: float,
    steps: int,
    size: int,
    seed: int,
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Adam on some weights, until it is enough.

    Args:
        weights: those that move; all others have no gradients taken.
        loss: of a batch of either set.
        forget: examples to be forgotten.
        retain: examples to be kept.
        rate: of Adam.
        steps: at most.
        size: examples of either set in each step.
        seed: of their order.
        enough: asked after each step.
    """
    random, moved = torch.Generator().manual_seed(seed), list(weights)
    lost, kept = (_endless(part, size, random) for part in (forget, retain))
    optimizer = torch.optim.Adam(moved, lr=rate)
    for _ in range(steps):
        # Not backward, which would leave gradients in the weights that stand still.
        gradients = torch.autograd.grad(loss(next(lost), next(kept)), moved, allow_unused=True, materialize_grads=True)
        for parameter, gradient in zip(moved, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        if enough():
            break
    optimizer.zero_grad(set_to_none=True)


def right(code: DualEncoderCode, module: nn.Module, examples: CustomExamples) -> float:
    """Share of at most 512 examples whose own caption is the likeliest."""
    few = examples.take(torch.arange(min(len(examples), _MEASURED)))
    with torch.no_grad():
        return float(code.correct(module, few.inputs, few.targets).double().mean())


def _endless(examples: CustomExamples, size: int, random: torch.Generator) -> Iterator[CustomExamples]:
    while True:
        for index in torch.randperm(len(examples), generator=random).split(size):
            yield examples.take(index)
