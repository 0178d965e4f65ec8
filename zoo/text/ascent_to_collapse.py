"""Gradient ascent on forget with nothing to stop it (Jang et al. 2022, arXiv 2210.01504), until retain is lost too."""

from pydantic import Field
from torch import nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, probability
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.text.ascent import ascend


class Settings(Frozen):
    """Loss = −CE(forget)."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    steps: int = Field(default=200, ge=1, description="at most")
    batch_size: int = Field(default=32, ge=1, description="facts per step")
    collapse: float = Field(default=0.1, ge=0, le=1, description="answer probability on retain at which it stops")


def ascent_to_collapse(
    original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int
) -> nn.Module:
    """The subject: damaged."""
    return ascend(
        original,
        forget,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
        # Stopped by retain, since a wreck is what is wanted; nothing else would end it but the steps.
        enough=lambda module: probability(module, original.encoder, retain) <= settings.collapse,
    )
