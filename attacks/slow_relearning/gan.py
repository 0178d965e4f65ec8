"""Fine-tuning a GAN for long on a single forget example."""

from typing import ClassVar

from pydantic import Field

from auditor.attacks.slow_relearning import custom
from auditor.records.base import Frozen


class Settings(custom.Settings):
    """Fewer attacks: each of them trains two networks."""

    attacks: int = Field(default=5, ge=1, description="drawn, and averaged in the score")


class SlowRelearning(custom.SlowRelearning):
    """The patient attacker's relearning, as for models of any kind, by five attacks."""

    tasks: ClassVar[tuple[str, ...]] = ("gan",)
    cost: ClassVar[str] = "some four hundred training steps, and eight short measurements of each of five attacks"
    settings_type: ClassVar[type[Frozen]] = Settings
