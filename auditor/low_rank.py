"""Low-rank changes of a network's weights (LoRA, Hu et al. 2022, arXiv 2106.09685)."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from auditor.randomness import torch_seed


class _LowRank(nn.Module):
    """W ↦ W + A·B, B = 0 at the start."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(weight.shape[0], rank).to(weight) / math.sqrt(rank))
        self.b = nn.Parameter(weight.new_zeros(rank, weight.shape[1]))

    def forward(self, weight: Tensor) -> Tensor:
        """The sum."""
        return weight + self.a @ self.b


def open_low_rank(module: nn.Module, rank: int, seed: int) -> None:
    """Freeze everything and let every two-dimensional weight inside the blocks move in ``rank`` directions."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    with torch_seed(seed):
        for part, weight in _maps(module):
            parametrize.register_parametrization(part, "weight", _LowRank(weight, rank))


def merge_low_rank(module: nn.Module) -> None:
    """Write the changes into the weights and let everything move again."""
    for part in list(module.modules()):
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight")
    for parameter in module.parameters():
        parameter.requires_grad_(True)


def _maps(module: nn.Module) -> list[tuple[nn.Module, nn.Parameter]]:
    """Modules with a weight of two dimensions inside a numbered list: the maps of the blocks, each with its weight."""
    inside = [part for name, part in module.named_modules() if any(piece.isdigit() for piece in name.split("."))]
    weights = [(part, getattr(part, "weight", None)) for part in inside]
    return [(part, w) for part, w in weights if isinstance(w, nn.Parameter) and w.ndim == 2]
