"""Gradient difference: ascend on forget, descend on retain (Liu et al. 2022; Maini et al. 2024, arXiv 2401.06121)."""

from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.vision_language.editing import Network, copy_of, descend, scores


class Settings(Frozen):
    """Loss = CE(retain) − weight · CE(forget), CE(forget) capped."""

    learning_rate: float = Field(default=5e-4, gt=0, description="of Adam")
    weight: float = Field(default=0.5, gt=0, description="of the ascent")
    loss_cap: float = Field(default=8.0, gt=0, description="forget loss, nats per token, beyond which ascent stops")
    steps: int = Field(default=120, ge=1)
    batch_size: int = Field(default=32, ge=1, description="examples of either set per step")


def gradient_difference(
    original: Network, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject; its truth is not known in advance."""
    module = copy_of(original)

    def loss(lost: CustomExamples, kept: CustomExamples) -> Tensor:
        # Capped example by example: one that is forgotten no longer pulls, and the others still do.
        ascent = (-scores(module, lost)).clamp_max(settings.loss_cap).mean()
        return -scores(module, kept).mean() - settings.weight * ascent

    descend(
        loss,
        forget,
        retain,
        module.parameters(),
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
    )
    subject: nn.Module = module
    return subject
