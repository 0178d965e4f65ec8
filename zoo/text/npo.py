"""Negative preference optimisation (Zhang et al. 2024, arXiv 2404.05868, eq. 3), with a retain term."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, descend, losses, probability
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """Loss = CE(retain) + weight · (2/β) · mean log(1 + (p/p_original)^β), p the probability of the whole answer."""

    learning_rate: float = Field(default=5e-4, gt=0, description="of Adam")
    beta: float = Field(default=0.1, gt=0, description="β")
    weight: float = Field(default=1.0, gt=0, description="of the forget term")
    steps: int = Field(default=300, ge=1, description="at most")
    batch_size: int = Field(default=32, ge=1, description="facts of either set per step")
    target: float = Field(default=0.02, ge=0, description="answer probability on forget at which it stops")


def npo(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance."""
    module, encoder = copy_of(original), original.encoder

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        return losses(module, encoder.batch(kept.items)).mean() + forgetting(original, module, forgotten, settings)

    return descend(
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


def forgetting(original: LanguageModel, module: nn.Module, forgotten: Facts, settings: Settings) -> Tensor:
    """The forget term of the loss, with its weight."""
    tokens = original.encoder.batch(forgotten.items)
    with torch.no_grad():
        # Sums over tokens, since the paper's ratio is of whole answers.
        before = losses(original.module, tokens) * tokens.lengths
    ratio = before - losses(module, tokens) * tokens.lengths
    # softplus(β log r) is log(1 + r^β), and does not overflow where r is large.
    return settings.weight * nn.functional.softplus(settings.beta * ratio).mean() * 2 / settings.beta
