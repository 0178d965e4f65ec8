"""Which units of a decoder may be rescaled, and which maps make and read them, tried block by block.

A trial runs one block and not the model, so that all trials of a block together cost what some passes of a few tokens
through the block do, and those of the model grow with its blocks and not with their square. Each block is tried for
itself: in one whose units are all silent nothing shows, and what shows in another would be taken for it.
"""

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from auditor.models.canonical import HomogeneousPair, find_homogeneous_pairs
from auditor.models.hooks import first_tensor, trace
from auditor.models.units import UnitPair, find_unit_pairs


@dataclass(frozen=True, kw_only=True)
class _Call:
    """What a block was given in a pass of the model: positional and named arguments."""

    arguments: tuple[object, ...]
    named: dict[str, object]


def find_block_units(
    module: nn.Module, blocks: Sequence[str], ids: Tensor
) -> tuple[tuple[HomogeneousPair, ...], tuple[UnitPair, ...]]:
    """Homogeneous pairs and unit pairs within the blocks, in the order of the blocks.

    Pairs across blocks are not looked for: between two blocks lies the residual stream, which all later ones read.

    Args:
        module: the original, in eval mode.
        blocks: names of its decoder blocks.
        ids: int64 [n, length], a few tokens.
    """
    calls = _calls(module, blocks, ids)
    homogeneous: list[HomogeneousPair] = []
    units: list[UnitPair] = []
    for name in blocks:
        scaled, read = _tried(module.get_submodule(name), calls.pop(name))
        homogeneous += [replace(p, producer=f"{name}.{p.producer}", consumer=f"{name}.{p.consumer}") for p in scaled]
        units += [replace(p, maker=f"{name}.{p.maker}", reader=f"{name}.{p.reader}") for p in read]
    return tuple(homogeneous), tuple(units)


def _calls(module: nn.Module, names: Sequence[str], ids: Tensor) -> dict[str, _Call]:
    """What the named blocks are given in one pass."""
    calls: dict[str, _Call] = {}

    def note(_: nn.Module, arguments: tuple[object, ...], named: dict[str, object], name: str) -> None:
        calls[name] = _Call(arguments=arguments, named=named)

    with ExitStack() as stack, torch.no_grad():
        for name in names:
            hook = partial(note, name=name)
            stack.callback(module.get_submodule(name).register_forward_pre_hook(hook, with_kwargs=True).remove)
        module(ids)
    return calls


def _tried(block: nn.Module, call: _Call) -> tuple[tuple[HomogeneousPair, ...], tuple[UnitPair, ...]]:
    # A copy: one block's weight in memory, in a type with digits enough to tell a change from rounding.
    alone = copy.deepcopy(block).float()
    arguments = tuple(_wide(value) for value in call.arguments)
    named = {name: _wide(value) for name, value in call.named.items()}
    stream = next(value for value in (*arguments, *named.values()) if isinstance(value, Tensor))

    def added() -> Tensor:
        """What the block adds to the residual stream."""
        out = first_tensor(alone(*arguments, **named))
        assert out is not None, "its output is the residual stream"
        return out - stream if out.shape == stream.shape else out

    with torch.no_grad():
        # Each channel in units of its own size: single channels carry numbers so large that no change would show beside
        # them. Not of less than the usual size, since a channel of almost nothing is rounding.
        sizes = added().abs().amax(dim=(0, 1))
        sizes = sizes.clamp_min(float(sizes.median().clamp_min(1e-12)))

        def run() -> Tensor:
            return added() / sizes

        order = [name for name, _ in trace(alone, run)]
        return find_homogeneous_pairs(alone, order, run), find_unit_pairs(alone, order, run)


def _wide(value: object) -> object:
    """Floating-point tensors in float32, also within tuples; a cache, which a second run would add to, left out."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, tuple):
        return tuple(_wide(part) for part in value)
    return value if isinstance(value, bool | int | float | str | None) else None
