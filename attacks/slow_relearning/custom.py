"""Fine-tuning a model of any kind for long on a single forget example."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from auditor.attacks.relearning import custom as relearning
from auditor.attacks.relearning.drawn import AttackRange
from auditor.attacks.slow_relearning.images import EIGHTHS, PATIENT
from auditor.records.base import Frozen


class Settings(relearning.Settings):
    """Long attacks on one example."""

    drawn: AttackRange = Field(
        default=PATIENT,
        description="from which the attacks are drawn by the plan's seed, the same for every model",
    )
    attacks: int = Field(default=8, ge=1, description="drawn, and averaged in the score")
    points: tuple[float, ...] = Field(
        default=EIGHTHS,
        description="shares of an attack's length at which it is measured",
    )
    retain_batch: int = Field(default=16, ge=1, description="retain examples per step")


class SlowRelearning(relearning.Relearning):
    """The patient attacker's relearning: one example, many steps, as for images.

    A model can be trained to withstand an attack of known length, and a longer one then brings back what it hides. The
    references relearn as well in so many steps, each sooner or later by the luck of one example, and eight attacks
    average that luck out.
    """

    name: ClassVar[str] = "slow_relearning"
    summary: ClassVar[str] = (
        "Fine-tuned a copy of the model for long on one forgotten example and measured how much of the rest of the "
        "forget set came back."
    )
    finds: ClassVar[str] = "Retraining a copy for long on a single forgotten example brought back"
    cost: ClassVar[str] = (
        "some six hundred training steps of half the batch, and eight short measurements of each of eight attacks"
    )
    caveats: ClassVar[tuple[str, ...]] = ("Given as long, models that never knew what was forgotten learn it, too.",)
    settings_type: ClassVar[type[Frozen]] = Settings

    def taught(self, shares: Sequence[float], n: int) -> float:
        """The best of the attacks: whether the model can be taught a single example at all."""
        return super().taught([max(shares)], n)
