"""RMU: forget activations steered to a random direction at one layer (Li et al. 2024, arXiv 2403.03218).

The paper moves three layers up to that one; where there are fewer, all of them up to it.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, block_names, copy_of, descend, probability, states_at
from auditor.tasks.causal_lm.sets import Facts

_MOVED = 3  # the paper's layers l − 2 to l


class Settings(Frozen):
    """Loss = mean square of (h(forget) − c·u) + α · mean square of (h(retain) − h_original(retain))."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    depth: float = Field(default=0.5, ge=0, le=1, description="of the layer, as a share of the blocks")
    # In units of the activations' norm: the paper's constants belong to one model each.
    coefficient: float = Field(default=3.0, gt=0, description="c, in the norm of the original's retain activations")
    alpha: float = Field(default=100.0, gt=0, description="α")
    steps: int = Field(default=300, ge=1, description="at most")
    batch_size: int = Field(default=32, ge=1, description="facts of either set per step")
    target: float = Field(default=0.02, ge=0, description="answer probability on forget at which it stops")


def rmu(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance."""
    encoder = original.encoder
    names = block_names(original, retain)
    at = round(settings.depth * (len(names) - 1))
    layer = names[at]
    module = copy_of(original).requires_grad_(False)
    for name in names[max(0, at + 1 - _MOVED) : at + 1]:
        module.get_submodule(name).requires_grad_(True)
    goal = _goal(original, layer, retain, settings, seed)

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        leaving, staying = encoder.batch(forgotten.items), encoder.batch(kept.items)
        with torch.no_grad():
            before = states_at(original.module, layer, staying)[staying.mask]
        # At every token, not only the answers': by the paper the whole forget text loses its meaning.
        steered = (states_at(module, layer, leaving)[leaving.mask] - goal).square().mean()
        return steered + settings.alpha * (states_at(module, layer, staying)[staying.mask] - before).square().mean()

    descend(
        module,
        loss,
        forget,
        retain,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
        enough=lambda: probability(module, encoder, forget) <= settings.target,
    )
    return module.requires_grad_(True)


def _goal(original: LanguageModel, layer: str, retain: Facts, settings: Settings, seed: int) -> Tensor:
    with torch.no_grad():
        tokens = original.encoder.batch(retain.items)
        states = states_at(original.module, layer, tokens)[tokens.mask]
    # Uniform in [0, 1], as the paper draws u, and not centred.
    direction = torch.rand(states.shape[1], generator=torch.Generator().manual_seed(seed))
    goal: Tensor = settings.coefficient * states.norm(dim=1).mean() * direction / direction.norm()
    return goal
