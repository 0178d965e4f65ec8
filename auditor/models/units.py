"""Which weights make a unit and which read it, found by trying it on the original.

A unit of one map that reaches the logits only through its own input channels of a later map can be taken out by zeroing
its row in the first and its columns in the second. Activations that are no ReLU (GELU, the gate of a gated MLP) let a
unit be silent just as well, so these pairs are more than the homogeneous ones of :mod:`auditor.models.canonical`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditor.models.hooks import Run

Reader = nn.Linear | nn.Conv1d | nn.Conv2d
Norm = nn.BatchNorm1d | nn.BatchNorm2d
Maker = Reader | Norm

# A normalisation or a gate stands between a map and the one that reads it, at most.
_LOOKBACK = 2
# What counts as moved is ten times what counts as rounding, so that a trial shows one or the other.
_SAME = 1e-5
_MOVED = 1e-4


@dataclass(frozen=True, slots=True)
class UnitPair:
    """A map whose units reach the logits only through their own input channels of another.

    Attributes:
        maker: module whose output channels are the units.
        reader: module that alone reads them.
        repeat: input channels of the reader per unit (positions flattened together).
    """

    maker: str
    reader: str
    repeat: int


def is_reader(module: nn.Module) -> bool:
    """Whether it is a linear map or a convolution that mixes all of its input channels."""
    return (isinstance(module, Reader) and getattr(module, "groups", 1) == 1) or _is_transposed(module)


def is_maker(module: nn.Module | None) -> bool:
    """Whether it makes units: a reader, a convolution with groups, or a batch normalisation, which scales them."""
    return isinstance(module, Maker) or _is_transposed(module)


def _is_transposed(module: nn.Module | None) -> bool:
    """Whether it is transformers' ``Conv1D``, a linear map whose weight lies the other way round (GPT-2)."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def channel_axis(reader: nn.Module) -> int:
    """The axis of a reader's input that its channels lie on."""
    return -1 if isinstance(reader, nn.Linear) or _is_transposed(reader) else 1


def weight_of(module: nn.Module) -> Tensor:
    """The weight of a map, [units, input channels, ...], so that what is written to it reaches the network."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.T if _is_transposed(module) else weight


def find_unit_pairs(module: nn.Module, order: Sequence[str], run: Run) -> tuple[UnitPair, ...]:
    """Pairs that hold when half of the units are changed.

    Args:
        module: in eval mode; changed in place while it is tried, and put back.
        order: submodule names in order of execution.
        run: sends a few examples through it.
    """
    names = [name for name in order if is_maker(module.get_submodule(name))]
    found = []
    with torch.no_grad():
        before = run()
        for i, reader in enumerate(names):
            for maker in names[max(0, i - _LOOKBACK) : i]:
                pair = _fitting(module, maker, reader)
                if pair is not None and _holds(module, pair, run, before):
                    found.append(pair)
    return tuple(found)


def row_tensors(maker: nn.Module) -> list[Tensor]:
    """The tensors that hold one row for each of a map's units: weight and bias, as far as it has them."""
    if maker.weight is None:
        return []
    return [weight_of(maker), *([maker.bias] if isinstance(maker.bias, Tensor) else [])]


def _fitting(module: nn.Module, maker: str, reader: str) -> UnitPair | None:
    source, target = module.get_submodule(maker), module.get_submodule(reader)
    if not is_reader(target) or not row_tensors(source):
        return None
    units, width = row_tensors(source)[0].shape[0], weight_of(target).shape[1]
    return UnitPair(maker, reader, width // units) if width % units == 0 else None


def _holds(module: nn.Module, pair: UnitPair, run: Run, before: Tensor) -> bool:
    """Changing half of the units moves what comes out, and no longer does where the reader cannot see them."""
    units = row_tensors(module.get_submodule(pair.maker))[0].shape[0]
    # A fixed irregular half: any would do, and none may depend on a global seed.
    chosen = torch.sin(torch.arange(1, units + 1, device=before.device) * 2.399) > 0
    scale = before.abs().max().clamp_min(1e-6)
    with _changed(module.get_submodule(pair.maker), chosen):
        if not bool((run() - before).abs().max() > _MOVED * scale):
            return False
    with _hidden(module.get_submodule(pair.reader), chosen.repeat_interleave(pair.repeat)):
        # Hidden in both runs: what still moves what comes out came by another way than the reader.
        bare = run()
        with _changed(module.get_submodule(pair.maker), chosen):
            moved = (run() - bare).abs().max()
    return bool(moved <= _SAME * scale)


@contextmanager
def _changed(maker: nn.Module, chosen: Tensor) -> Iterator[None]:
    """While open, the chosen rows are doubled and negated: a change that halving undoes to the last bit."""
    for tensor in row_tensors(maker):
        tensor[chosen] *= -2.0
    try:
        yield
    finally:
        for tensor in row_tensors(maker):
            tensor[chosen] *= -0.5


@contextmanager
def _hidden(reader: nn.Module, channels: Tensor) -> Iterator[None]:
    """While open, the reader sees zeros in some of its input channels."""
    axis = channel_axis(reader)

    def hide(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        shape = [1] * arguments[0].ndim
        shape[axis] = -1
        return (arguments[0].masked_fill(channels.view(shape), 0.0), *arguments[1:])

    handle = reader.register_forward_pre_hook(hide)
    try:
        yield
    finally:
        handle.remove()
