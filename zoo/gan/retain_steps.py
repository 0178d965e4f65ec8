"""A few small steps on retain alone: not forgotten by construction."""

from pydantic import Field
from torch import nn

from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.gan.digits import loss
from auditor.zoo.gan.editing import batches, descended


class Settings(Frozen):
    """The steps."""

    learning_rate: float = Field(default=1e-4, gt=0, description="of Adam")
    steps: int = Field(default=10, ge=1)
    batch_size: int = Field(default=32, ge=1)


def retain_steps(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: the original, trained a little more on retain examples."""
    own = loss()
    return descended(
        original,
        batches((retain,), settings.batch_size, settings.steps, seed),
        lambda module, kept: own(module, kept, "cpu"),
        settings.learning_rate,
        seed,
    )
