"""Low-rank changes of a network's weights (LoRA, Hu et al. 2022, arXiv 2106.09685)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

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
