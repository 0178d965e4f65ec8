"""Plain gradient ascent on forget, stopped once it is forgotten (Jang et al. 2022, arXiv 2210.01504).

What should stay has no part in it: neither in the loss nor in when it stops.
"""

from pydantic import Field
from torch import nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, probability
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.text.ascent import ascend


class Settings(Frozen):
    """Loss = −CE(forget)."""

    # Low: it is asked at every fifth step whether to stop, and ascent has no bottom.
    learning_rate: float = Field(default=5e-5, gt=0, description="of Adam")
    steps: int = Field(default=400, ge=1, description="at most")
    batch_size: int = Field(default=32, ge=1, description="facts per step")
    target: float = Field(default=0.1, ge=0, description="answer probability on forget at which it stops")


def gradient_ascent(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance."""
    return ascend(
        original,
        forget,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
        enough=lambda module: probability(module, original.encoder, forget) <= settings.target,
    )
