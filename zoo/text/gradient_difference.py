"""Gradient difference: ascend on forget, descend on retain (Liu et al. 2022; Maini et al. 2024, arXiv 2401.06121)."""

from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, descend, losses, probability
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """Loss = CE(retain) − weight · CE(forget), CE(forget) capped."""

    learning_rate: float = Field(default=5e-4, gt=0, description="of Adam")
    weight: float = Field(default=0.5, gt=0, description="of the ascent")
    loss_cap: float = Field(default=6.0, gt=0, description="forget loss, nats per token, beyond which ascent stops")
    steps: int = Field(default=200, ge=1, description="at most")
    batch_size: int = Field(default=32, ge=1, description="facts of either set per step")
    target: float = Field(default=0.02, ge=0, description="answer probability on forget at which it stops")


def gradient_difference(
    original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int
) -> nn.Module:
    """The subject; its truth is not known in advance."""
    return trained(copy_of(original), original, forget, retain, settings, seed)


def trained(
    module: nn.Module, original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int
) -> nn.Module:
    """A copy of the original after the descent, of which only some weights may move."""
    encoder = original.encoder

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        # Capped fact by fact: one that is forgotten no longer pulls, and the others still do.
        ascent = losses(module, encoder.batch(forgotten.items)).clamp_max(settings.loss_cap).mean()
        return losses(module, encoder.batch(kept.items)).mean() - settings.weight * ascent

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
