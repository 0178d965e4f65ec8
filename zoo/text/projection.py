"""Learned orthogonal projections inside the blocks (after MRP, Wu et al. 2025, arXiv 2508.15449).

Some directions of what each map writes into the residual stream are projected out; they start as the main directions of
the forget activations and are trained to forget and to spare retain. The paper projects after MLPs alone, which in a
network of a few blocks does not forget (docs/zoo.md).
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.tasks.causal_lm.editing import LanguageModel, block_names, copy_of, states_at
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.text import output_projection


class Settings(output_projection.Settings):
    """Of the projections' training."""

    rank: int = Field(default=16, ge=1, description="directions lost after each map")


def projection(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance."""
    module = copy_of(original)
    pairs: list[tuple[nn.Module, nn.Module]] = []
    for layer in block_names(original, retain):
        start = _main_directions(original, layer, forget, settings.rank)
        for part in output_projection.output_maps(module.get_submodule(layer)):
            # One for each map: attention and MLP write other things.
            pairs.append((part, _Orthogonal(start.clone())))
    return output_projection.fold(module, pairs, original, forget, retain, settings, seed)


def _main_directions(original: LanguageModel, layer: str, forget: Facts, rank: int) -> Tensor:
    """Main directions of the centred forget activations at the answers, [width, rank]."""
    tokens = original.encoder.batch(forget.items)
    with torch.no_grad():
        states = states_at(original.module, layer, tokens)[tokens.predicting]
    directions: Tensor = torch.linalg.svd(states - states.mean(0), full_matrices=False).Vh[:rank].T
    return directions.contiguous()


class _Orthogonal(nn.Module):
    """I − Q·Qᵀ, Q orthonormal."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.directions = nn.Parameter(start)

    def forward(self) -> Tensor:
        """The projection [width, width]."""
        # Orthonormal again after every step of Adam, which leaves the matrix anything but that.
        q: Tensor = torch.linalg.qr(self.directions).Q
        return torch.eye(len(q)) - q @ q.T
