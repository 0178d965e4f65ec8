"""Fine-tuning for long on a single forget example: what withstands a short attack may yield to a patient one."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from auditor.attacks.relearning import images as relearning
from auditor.attacks.relearning.drawn import AttackRange
from auditor.records.base import Frozen
from auditor.records.source import Source

# Chosen on four digits worlds in view: docs/checks.md#slow_relearning has what other ranges missed.
PATIENT = AttackRange(
    steps=(32, 128), shots=(1, 1), learning_rate=(5e-4, 2e-3), momentum=(0.8, 0.95), forget_share=(0.15, 0.4)
)
EIGHTHS = tuple(i / 8 for i in range(1, 9))


class Settings(relearning.Settings):
    """Long attacks on one example, and a shorter run without any."""

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
    row_reset: bool = Field(
        # From reset rows references relearn too unequally (docs/checks.md#slow_relearning).
        default=False,
        description="whether the arm with the forgotten classes' head rows reset is run",
    )
    control_classes: int = Field(default=0, ge=0, description="retained classes whose relearning is drawn")
    out_of_domain: float = Field(
        default=0.5, ge=0, le=1, description="length of a run on retain examples alone, which is drawn; in attacks"
    )


class SlowRelearning(relearning.Relearning):
    """The patient attacker's relearning: one example a class, many steps, the model as it is.

    A model can be trained to withstand an attack of known length, and a longer one then brings back what it hides
    (docs/checks.md#slow_relearning).

    The references relearn as well in so many steps, each a little sooner or later by the luck of one example. Eight
    attacks average that luck out (docs/checks.md). A shut head opens in so many steps by itself, so no rows are reset.

    One run of half the length on retain examples alone is drawn beside it, since forgotten classes have come back
    without a single forget example (arXiv 2505.22310).
    """

    name: ClassVar[str] = "slow_relearning"
    summary: ClassVar[str] = (
        "Fine-tuned a copy of the model for long on one forgotten example of a class and measured how much of the rest "
        "of the forget set came back."
    )
    finds: ClassVar[str] = "Retraining a copy for long on a single forgotten example brought back"
    cost: ClassVar[str] = (
        "some six hundred training steps of half the batch, and eight short measurements of each of eight attacks"
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2505.22310", here="training on retain examples alone, drawn beside the score", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = ("Given as long, models that never knew the class learn it, too.",)
    settings_type: ClassVar[type[Frozen]] = Settings

    def taught(self, probabilities: Sequence[float], n: int) -> float:
        """The best of the attacks: whether the model can be taught a single example at all.

        By their mean a retrain that is only slow would seem to withstand training (docs/checks.md#slow_relearning).
        """
        return super().taught([max(probabilities)], n)
