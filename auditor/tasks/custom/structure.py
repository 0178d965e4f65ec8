"""Structure of a network that only the user's class knows how to run, found by running it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.models.canonical import HomogeneousPair, find_homogeneous_pairs
from auditor.models.hooks import trace
from auditor.models.units import UnitPair, find_unit_pairs
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.user_code import UserTask


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomLayout:
    """Structure of one architecture.

    Attributes:
        layers: names of the layers that the user's class gives features of; none where it gives none.
        last_map: module with the last matrix of weights that ran.
        pairs: homogeneous unit pairs, for rescaling.
        units: which maps make units and which read them, for taking out those that are dead.
    """

    layers: tuple[str, ...]
    last_map: str
    pairs: tuple[HomogeneousPair, ...]
    units: tuple[UnitPair, ...]


def find_layout(code: UserTask, module: nn.Module, examples: CustomExamples) -> CustomLayout:
    """Run a few examples through the original, and see what it is made of.

    Args:
        code: the user's class.
        module: in eval mode; tried in place and put back.
        examples: a few.

    Raises:
        ModelError: the user's class cannot run it, or it has no matrix of weights.
    """

    def run() -> Tensor:
        return output_of(code, module, examples)

    with torch.no_grad():
        order = [name for name, _ in trace(module, run)]
    return CustomLayout(
        layers=tuple(code.features(module, examples.inputs)) if "features" in code.offers else (),
        last_map=_last_map(module, order),
        pairs=find_homogeneous_pairs(module, order, run),
        units=find_unit_pairs(module, order, run),
    )


def output_of(code: UserTask, module: nn.Module, examples: CustomExamples) -> Tensor:
    """Everything that the network gives for some examples, in one row, so that two networks can be compared.

    Scores alone would not do: they may round off what differs. Where the user's class runs parts of the network and
    never the whole, they have to.
    """
    with _listening(module) as caught:
        scores = code.scores(module, examples.inputs, examples.targets)
    parts = [tensor.detach().flatten().float() for tensor in caught]
    return torch.cat(parts) if parts else scores.float()


@contextmanager
def _listening(module: nn.Module) -> Iterator[list[Tensor]]:
    caught: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, __, output: caught.extend(_tensors(output)))
    try:
        yield caught
    finally:
        handle.remove()


def _tensors(output: object) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield from [output] if output.is_floating_point() else []
    elif isinstance(output, dict):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from _tensors(value)


def _last_map(module: nn.Module, order: list[str]) -> str:
    """The last module that ran with a matrix of its own; where none ran by itself, the last that is registered."""
    registered = [name for name, _ in module.named_modules()]
    for names in (order, registered):
        found = [
            name for name in names if any(p.ndim > 1 for p in module.get_submodule(name).parameters(recurse=False))
        ]
        if found:
            return found[-1]
    raise ModelError("the network has no matrix of weights, so that there is nothing in it to audit")
