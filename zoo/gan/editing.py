"""What methods on GANs share: batches, and a copy that descends a loss."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from auditor.models.copies import movable_copy
from auditor.randomness import torch_seed
from auditor.tasks.custom.sets import CustomExamples


def batches(sets: Sequence[CustomExamples], size: int, steps: int, seed: int) -> Iterator[tuple[CustomExamples, ...]]:
    """For each step a batch of random examples of every set."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield tuple(part.take(torch.randint(len(part), (size,), generator=random)) for part in sets)


def descended(
    original: nn.Module,
    steps: Iterable[tuple[object, ...]],
    loss: Callable[..., Tensor],
    learning_rate: float,
    seed: int,
    *,
    part: str = "",
) -> nn.Module:
    """A copy after a step of Adam for each batch.

    Args:
        original: left as it is.
        steps: the batches.
        loss: takes the copy and the parts of a batch; what it draws of torch's stream follows from ``seed``.
        learning_rate: of Adam.
        seed: of the loss.
        part: name of the only part that moves; the whole by default.
    """
    module = movable_copy(original).eval()
    moved = list((module.get_submodule(part) if part else module).parameters())
    optimizer = torch.optim.Adam(moved, lr=learning_rate)
    with torch_seed(seed):
        for batch in steps:
            # Not backward, which would leave gradients in the weights that stand still.
            gradients = torch.autograd.grad(loss(module, *batch), moved, allow_unused=True, materialize_grads=True)
            for parameter, gradient in zip(moved, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return module
