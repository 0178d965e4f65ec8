"""What the methods for models about pictures share: a copy, and a descent on a forget and a retain batch."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from auditor.models.copies import movable_copy
from auditor.randomness import derive_seed
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.vision_language.reading import mean_log_probability

Network = Any
"""A network of LLaVA's shape: its attributes are transformers', which have no types here."""


def copy_of(original: nn.Module) -> Network:
    """A copy in eval mode whose weights may be moved."""
    return movable_copy(original).eval()


def scores(module: nn.Module, examples: CustomExamples) -> Tensor:
    """Mean log-probability of each example's answer, in nats, [n]."""
    return mean_log_probability(module, examples.inputs, examples.targets)


def questions_of(original: Network, examples: CustomExamples) -> Tensor:
    """Ids of the questions' tokens, int64 [n, length]."""
    vision = original.config.vision_config
    return examples.inputs[:, vision.num_channels * vision.image_size**2 :]


def descend(
    loss: Callable[[CustomExamples, CustomExamples], Tensor],
    forget: CustomExamples,
    retain: CustomExamples,
    moved: Iterable[nn.Parameter],
    *,
    rate: float,
    steps: int,
    size: int,
    seed: int,
) -> None:
    """Steps of Adam on batches drawn with replacement.

    Args:
        loss: of a forget and a retain batch.
        forget: examples to be forgotten.
        retain: examples to be kept.
        moved: weights that are trained; all others stand still.
        rate: of Adam.
        steps: how many.
        size: of either batch.
        seed: of the batches.
    """
    parameters, random = list(moved), torch.Generator().manual_seed(derive_seed(seed, "batches"))
    optimizer = torch.optim.Adam(parameters, lr=rate)
    for _ in range(steps):
        lost, kept = (part.take(torch.randint(len(part), (size,), generator=random)) for part in (forget, retain))
        # Not backward, which would leave gradients in the weights that stand still.
        gradients = torch.autograd.grad(loss(lost, kept), parameters, allow_unused=True, materialize_grads=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
