"""Copies of recommenders with tables of rows and a graph, and steps of training on them."""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.recommender.task import task_code

_PARTS = ("users", "items", "connect")


class Tabled(Protocol):
    """A network of two tables and a graph, as :class:`auditor.zoo.recommender.lightgcn_net.LightGCN` is.

    Attributes:
        users: rows of users.
        items: rows of items.
    """

    users: nn.Embedding
    items: nn.Embedding

    def connect(self, pairs: Tensor) -> None:
        """Make the graph of these interactions alone."""


def copy_of(original: nn.Module) -> nn.Module:
    """An independent copy in eval mode.

    Raises:
        ModelError: the network has no tables ``users`` and ``items``, or no ``connect``.
    """
    missing = [name for name in _PARTS if not hasattr(original, name)]
    if missing:
        raise ModelError(
            f"the network has no {', '.join(missing)}; methods of the zoo take recommenders with tables users and "
            "items and a graph that connect(pairs) makes (docs/recommender.md)"
        )
    return copy.deepcopy(original).eval()


def tabled(module: nn.Module) -> Tabled:
    """The same network, known to have tables and graph."""
    return cast(Tabled, module)


def without_edges(original: nn.Module, retain: CustomExamples) -> nn.Module:
    """A copy whose graph is that of retain alone."""
    module = copy_of(original)
    tabled(module).connect(retain.inputs)
    return module


def loss_on(module: nn.Module, examples: CustomExamples) -> Tensor:
    """What training descends."""
    return task_code().loss(module, examples.inputs, examples.targets)


def endless(examples: CustomExamples, size: int, random: torch.Generator) -> Iterator[CustomExamples]:
    """Epoch after epoch of batches in random order."""
    while True:
        for index in torch.randperm(len(examples), generator=random).split(size):
            yield examples.take(index)


def descend(
    parameters: Iterable[nn.Parameter], loss: Callable[[], Tensor], steps: int, rate: float, rows: Tensor | None = None
) -> None:
    """Steps of Adam.

    Args:
        parameters: that move.
        loss: of the next step.
        steps: how many.
        rate: of Adam.
        rows: of each parameter those that move, int64; all by default.
    """
    moved = list(parameters)
    optimizer = torch.optim.Adam(moved, lr=rate)
    for _ in range(steps):
        # Not backward, which would leave gradients in what stands still.
        gradients = torch.autograd.grad(loss(), moved)
        for parameter, gradient in zip(moved, gradients, strict=True):
            parameter.grad = (
                gradient if rows is None else torch.zeros_like(gradient).index_copy(0, rows, gradient[rows])
            )
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
