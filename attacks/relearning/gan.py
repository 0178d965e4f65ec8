"""Fine-tuning a GAN on a handful of forget examples: how fast does it draw the rest again?"""

from typing import ClassVar

from pydantic import Field

from auditor.attacks.relearning import custom
from auditor.attacks.relearning.drawn import AttackRange
from auditor.records.base import Frozen


class Settings(custom.Settings):
    """More steps than classifiers need, fewer examples, and more attacks, over which their luck averages out."""

    drawn: AttackRange = Field(
        default=AttackRange(
            steps=(32, 96), shots=(1, 2), learning_rate=(5e-4, 2e-3), momentum=(0.8, 0.95), forget_share=(0.15, 0.4)
        ),
        description="from which the attacks are drawn by the plan's seed, the same for every model",
    )
    attacks: int = Field(default=6, ge=1, description="drawn, and averaged in the score")
    retain_batch: int = Field(default=16, ge=1, description="retain examples per step")


class Relearning(custom.Relearning):
    """Both networks trained on the attack half by the loss of the task, measured on the eval half by its scores.

    As for models of any kind (:class:`auditor.attacks.relearning.custom.Relearning`), with the ranges of
    :class:`Settings`: in a dozen steps a generator hardly moves, whatever it still knows, and from several examples one
    that never drew them learns nearly as well (docs/gan.md).
    """

    tasks: ClassVar[tuple[str, ...]] = ("gan",)
    cost: ClassVar[str] = "some four hundred training steps and one short measurement at each measured step"
    settings_type: ClassVar[type[Frozen]] = Settings
