"""What methods share that make a subject of a classifier: (original, forget, retain, settings, seed) → subject."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVarTuple

import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.models.copies import movable_copy
from auditor.models.hooks import logits_of
from auditor.tasks.classification.sets import Examples, joined
from auditor.tasks.classification.structure import find_layout

LAYOUT_EXAMPLES = 8

_Parts = TypeVarTuple("_Parts")


def head_of(module: nn.Module, examples: Examples) -> nn.Linear:
    """The last linear map of a classifier.

    Raises:
        ModelError: the network does not end in a linear map.
    """
    layout = find_layout(module, examples.take(torch.arange(min(LAYOUT_EXAMPLES, len(examples)))).inputs)
    head = module.get_submodule(layout.head) if layout.head is not None else None
    if not isinstance(head, nn.Linear):
        raise ModelError("this method edits the classifier's last linear map, and the network does not end in one")
    return head


def copy_of(original: nn.Module) -> nn.Module:
    """An independent copy in eval mode: batch statistics stay as the original learned them. Nothing is frozen."""
    return movable_copy(original).eval()


def logits(module: nn.Module, inputs: Tensor) -> Tensor:
    """Logits [n, classes] with gradients."""
    return logits_of(module(inputs))


def accuracy(module: nn.Module, examples: Examples) -> float:
    """Share of examples whose top class is their label."""
    with torch.no_grad():
        hits = [(logits(module, x).argmax(1) == y).sum() for x, y in examples.batches(512)]
    return float(sum(hits)) / len(examples)


def shuffled(examples: Examples, size: int, random: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of (inputs, labels) in random order."""
    for index in torch.randperm(len(examples), generator=random).split(size):
        batch = examples.take(index)
        yield batch.inputs, batch.labels


def endless(examples: Examples, size: int, random: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Epoch after epoch of (inputs, labels) in random order."""
    while True:
        yield from shuffled(examples, size, random)


def epochs(examples: Examples, size: int, count: int, random: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """``count`` epochs of (inputs, labels) in random order."""
    for _ in range(count):
        yield from shuffled(examples, size, random)


def descend(
    parameters: Iterable[nn.Parameter],
    batches: Iterable[tuple[*_Parts]],
    loss: Callable[[*_Parts], Tensor],
    learning_rate: float,
) -> None:
    """One step of Adam on the loss of each batch.

    Args:
        parameters: all that moves; no gradients are left anywhere.
        batches: drawn one at a time, each after the step before, so that an iterator may look at the model and end.
        loss: takes the parts of a batch.
        learning_rate: of Adam.
    """
    # Gone through several times, and an iterator only once.
    moved = list(parameters)
    optimizer = torch.optim.Adam(moved, lr=learning_rate)
    for batch in batches:
        # Not backward, which would leave gradients in the weights that stand still.
        gradients = torch.autograd.grad(loss(*batch), moved, allow_unused=True, materialize_grads=True)
        for parameter, gradient in zip(moved, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def is_class_request(forget: Examples, retain: Examples) -> bool:
    """Whether whole classes are to be forgotten: no retain example has one of their labels."""
    return not bool(torch.isin(retain.labels, forget.labels.unique()).any())


def other_labels(labels: Tensor, allowed: Tensor, random: torch.Generator) -> Tensor:
    """For each label a random other one among ``allowed``."""
    picks = torch.stack([_draw_other(int(label), allowed, random) for label in labels])
    return picks.to(labels.dtype)


def with_wrong_labels(forget: Examples, retain: Examples, random: torch.Generator) -> Examples:
    """Retain and forget in one set, each forget label replaced by another that retain has."""
    allowed: Tensor = retain.labels.unique()
    wrong = other_labels(forget.labels, allowed, random)
    return joined(retain, Examples(raw=forget.raw, labels=wrong, preprocessing=retain.preprocessing))


def _draw_other(label: int, allowed: Tensor, random: torch.Generator) -> Tensor:
    others = allowed[allowed != label]
    return others[int(torch.randint(len(others), (1,), generator=random))]
