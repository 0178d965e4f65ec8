"""Fine-tuning a recommender on a few forgotten interactions: how fast do the others come back?"""

from typing import ClassVar

from pydantic import Field

from auditor.attacks.relearning import custom
from auditor.attacks.relearning.drawn import AttackRange
from auditor.records.base import Frozen


class Settings(custom.Settings):
    """A few attacks at the rates that tables of rows are trained at."""

    drawn: AttackRange = Field(
        default=AttackRange(steps=(64, 128), shots=(8, 24), learning_rate=(3e-2, 6e-2), forget_share=(0.3, 0.6)),
        description="from which the attacks are drawn by the plan's seed, the same for every model",
    )
    points: tuple[float, ...] = Field(
        default=(1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1.0),
        description="shares of an attack's length at which it is measured",
    )
    retain_batch: int = Field(default=128, ge=1, description="retain interactions per step")


class Relearning(custom.Relearning):
    """Relearning of models of any kind, at ten times the rate.

    The weights of a recommender are rows of users and items whose numbers grow to about one, and Adam moves each by
    about the rate at a step: at the rates of maps of a network no attack gets anywhere
    (:class:`auditor.attacks.relearning.custom.Relearning`).
    """

    name: ClassVar[str] = "relearning"
    tasks: ClassVar[tuple[str, ...]] = ("recommender",)
    summary: ClassVar[str] = (
        "Fine-tuned a copy of the model on a few forgotten interactions and measured how much of the others came back."
    )
    settings_type: ClassVar[type[Frozen]] = Settings
