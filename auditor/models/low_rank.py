"""Low-rank changes of a network's weights (LoRA, Hu et al. 2022, arXiv 2106.09685)."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from auditor.errors import ModelError
from auditor.randomness import torch_seed


class _LowRank(nn.Module):
    """W ↦ W + A·B, B = 0 at the start."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(weight.shape[0], rank).to(weight) / math.sqrt(rank))
        self.b = nn.Parameter(weight.new_zeros(rank, weight[0].numel()))

    def forward(self, weight: Tensor) -> Tensor:
        """The sum; a convolution's weight counts as the matrix [outputs, inputs times positions]."""
        return weight + (self.a @ self.b).view_as(weight)


def open_low_rank(module: nn.Module, rank: int, seed: int, maps: Sequence[nn.Module] | None = None) -> None:
    """Freeze everything and let some weights move in ``rank`` directions.

    Args:
        module: changed.
        rank: of each weight's change.
        seed: of the directions at the start.
        maps: submodules whose weight may move; None for those inside the blocks with a weight of two dimensions.
    """
    chosen = _maps(module) if maps is None else maps
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    with torch_seed(seed):
        for part in chosen:
            weight = part.weight
            assert isinstance(weight, Tensor)
            parametrize.register_parametrization(part, "weight", _LowRank(weight, rank))


def merge_low_rank(module: nn.Module) -> None:
    """Write the changes into the weights and let everything move again."""
    # As a list: the parametrizations are modules, too, and go while they are walked over.
    for part in list(module.modules()):
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight")
    for parameter in module.parameters():
        parameter.requires_grad_(True)


def _maps(module: nn.Module) -> list[nn.Module]:
    """Modules with a weight of two dimensions inside a numbered list: the maps of the blocks."""
    inside = [part for name, part in module.named_modules() if any(piece.isdigit() for piece in name.split("."))]
    weights = [(part, getattr(part, "weight", None)) for part in inside]
    return [part for part, w in weights if isinstance(w, nn.Parameter) and w.ndim == 2]


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A forward hook that adds (x·A)·B/√rank to the output of one matrix; x is one-hot where that is a table.

    Attributes:
        reads: A, float32 [inputs, rank]; normal with variance 1/inputs at the start, or 0 in a table.
        writes: B, float32 [rank, outputs]; 0 at the start, or normal with variance 1 in a table. So the product is 0,
            and the network computes what it did.
        table: whether the matrix is looked up by token, not multiplied with.
    """

    reads: nn.Parameter
    writes: nn.Parameter
    table: bool

    def __call__(self, _: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The sum, [..., outputs], in the type that the network computes in."""
        x = arguments[0]
        # The factors stay in float32 whatever the network computes in: eight bits would round small steps away. The
        # root keeps the size of a step's effect from growing with the rank (Kalajdzievski 2023, arXiv 2312.03732).
        reads = (self.reads / math.sqrt(self.reads.shape[1])).to(output.dtype)
        inner = reads[x] if self.table else x @ reads
        return output + inner @ self.writes.to(output.dtype)


@contextmanager
def low_rank_branches(module: nn.Module, rank: int, seed: int) -> Iterator[tuple[Branch, ...]]:
    """While open, every linear map of a network, head included, and every table of embeddings can move a little.

    Each moves in ``rank`` directions. The change stands beside the weights (LoRA, Hu et al. 2021, arXiv 2106.09685) and
    never in them: nothing is copied, no weight has a gradient, and once this is closed the network is what it was, to
    the last bit.

    Args:
        module: in eval mode; tied weights stay tied, since a branch is no part of them.
        rank: of each map's change, at least 1; where a map has fewer inputs or outputs the rest is idle.
        seed: of the directions at the start.

    Yields:
        The branches, in the order of the modules. Their factors alone have gradients.

    Raises:
        ModelError: the network has no such matrix.
    """
    maps = [(part, shape) for part in module.modules() if (shape := _inputs_and_outputs(part)) is not None]
    if not maps:
        raise ModelError("a low-rank attack changes linear maps, and this network has none; give a transformers model")
    moved = [p for p in module.parameters() if p.requires_grad]
    for parameter in moved:
        parameter.requires_grad_(False)
    with torch_seed(seed):
        branches = tuple(_branch(part, *shape, rank) for part, shape in maps)
    handles = [part.register_forward_hook(branch) for (part, _), branch in zip(maps, branches, strict=True)]
    try:
        yield branches
    finally:
        for handle in handles:
            handle.remove()
        for parameter in moved:
            parameter.requires_grad_(True)


def out_of_reach(module: nn.Module) -> tuple[str, ...]:
    """Names of the parameters of two or more dimensions that :func:`low_rank_branches` moves nothing beside.

    Such as those of experts that one module keeps together: what they hold, an attack through branches cannot open.
    """
    reached = {id(part.weight) for part in module.modules() if _inputs_and_outputs(part) is not None}
    return tuple(name for name, p in module.named_parameters() if p.ndim > 1 and id(p) not in reached)


def _inputs_and_outputs(part: nn.Module) -> tuple[int, int] | None:
    """Of a linear map or a table; None for anything else."""
    if isinstance(part, nn.Linear):
        return part.in_features, part.out_features
    if isinstance(part, nn.Embedding):
        return part.num_embeddings, part.embedding_dim
    # GPT-2's maps are a class of transformers, named so, which is not imported here for its name alone.
    weight = getattr(part, "weight", None)
    if type(part).__name__ == "Conv1D" and isinstance(weight, Tensor) and weight.ndim == 2:
        return weight.shape[0], weight.shape[1]
    return None


def _branch(part: nn.Module, inputs: int, outputs: int, rank: int) -> Branch:
    weight = part.weight
    assert isinstance(weight, Tensor)
    # Drawn on the processor: the directions are the same whatever device the network is on.
    table = isinstance(part, nn.Embedding)
    if table:
        reads, writes = torch.zeros(inputs, rank), torch.randn(rank, outputs)
    else:
        reads, writes = torch.randn(inputs, rank) / math.sqrt(inputs), torch.zeros(rank, outputs)
    place = weight.device
    return Branch(reads=nn.Parameter(reads.to(place)), writes=nn.Parameter(writes.to(place)), table=table)
