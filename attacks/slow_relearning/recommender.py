"""Fine-tuning a recommender for long on a single forgotten interaction."""

from typing import ClassVar

from pydantic import Field

from auditor.attacks.relearning.drawn import AttackRange
from auditor.attacks.slow_relearning import custom
from auditor.records.base import Frozen


class Settings(custom.Settings):
    """Long attacks on one interaction, at the rates that tables of rows are trained at."""

    drawn: AttackRange = Field(
        default=AttackRange(
            steps=(96, 192), shots=(1, 1), learning_rate=(5e-2, 1e-1), momentum=(0.8, 0.95), forget_share=(0.2, 0.5)
        ),
        description="from which the attacks are drawn by the plan's seed, the same for every model",
    )
    retain_batch: int = Field(default=64, ge=1, description="retain interactions per step")


class SlowRelearning(custom.SlowRelearning):
    """The patient attacker's relearning, at the rates of :class:`auditor.attacks.relearning.recommender.Relearning`."""

    name: ClassVar[str] = "slow_relearning"
    tasks: ClassVar[tuple[str, ...]] = ("recommender",)
    settings_type: ClassVar[type[Frozen]] = Settings
