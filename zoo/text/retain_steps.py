"""A few more steps on retain, which forget nothing: the weakest form of fine-tuning as unlearning."""

from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, descend, losses
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """Loss = CE(retain)."""

    # Low and short on purpose: an audit that calls this forgotten has not looked.
    learning_rate: float = Field(default=1e-4, gt=0, description="of Adam")
    steps: int = Field(default=10, ge=1)
    batch_size: int = Field(default=32, ge=1, description="facts per step")


def retain_steps(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: not forgotten."""
    module, encoder = copy_of(original), original.encoder

    def loss(_: Facts, kept: Facts) -> Tensor:
        return losses(module, encoder.batch(kept.items)).mean()

    return descend(
        module,
        loss,
        retain,
        retain,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
    )
