"""Plain gradient ascent on forget, stopped once it is forgotten (Jang et al. 2022, arXiv 2210.01504).

What should stay has no part in it: neither in the loss nor in when it stops.
"""

from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, descend, losses, probability
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """Loss = −CE(forget)."""

    # Low: it is asked at every fifth step whether to stop, and ascent has no bottom.
    learning_rate: float = Field(default=5e-5, gt=0, description="of Adam")
    steps: int = Field(default=400, ge=1, description="at most")
    batch_size: int = Field(default=32, ge=1, description="facts per step")
    target: float = Field(default=0.1, ge=0, description="answer probability on forget at which it stops")


def gradient_ascent(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance."""
    module, encoder = copy_of(original), original.encoder

    def loss(forgotten: Facts, _: Facts) -> Tensor:
        return -losses(module, encoder.batch(forgotten.items)).mean()

    # Forget in retain's place as well: the loss never looks at the second batch.
    return descend(
        module,
        loss,
        forget,
        forget,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
        enough=lambda: probability(module, encoder, forget) <= settings.target,
    )
