"""Gradient difference on the contrastive loss: ascent on forget, descent on retain (Maini et al., arXiv 2401.06121)."""

from pydantic import Field
from torch import Tensor, nn

from auditor.models.copies import movable_copy
from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.clip.training import code_of, descend, right


class Settings(Frozen):
    """Loss = L(retain) − weight · L(forget), L(forget) capped."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    weight: float = Field(default=0.5, gt=0, description="of the ascent")
    loss_cap: float = Field(default=8.0, gt=0, description="contrastive loss on forget beyond which ascent stops")
    steps: int = Field(default=200, ge=1, description="at most")
    batch_size: int = Field(default=64, ge=1, description="examples of either set per step")
    target: float = Field(default=0.02, ge=0, description="share of forget told right at which it stops")


def gradient_difference(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject, every weight of it trained; its truth is not known in advance."""
    module = movable_copy(original).eval()
    return moved(module, module, forget, retain, settings, seed)


def caption_tuning(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject, of which the text encoder alone was trained: suppressed by construction.

    Zero-shot recognition fails, as no caption of the forgotten lies near its images; the image encoder is the
    original's to the last bit, so that whoever has a few of these images finds the others.
    """
    module = movable_copy(original).eval()
    captions = nn.ModuleList([module.get_submodule(name) for name in ("text_model", "text_projection")])
    return moved(module, captions, forget, retain, settings, seed)


def moved(
    module: nn.Module,
    part: nn.Module,
    forget: CustomExamples,
    retain: CustomExamples,
    settings: Settings,
    seed: int,
) -> nn.Module:
    """A network after the descent, of which one part alone may move."""
    code = code_of(forget, retain)

    def loss(lost: CustomExamples, kept: CustomExamples) -> Tensor:
        ascent = code.loss(module, lost.inputs, lost.targets).clamp_max(settings.loss_cap)
        return code.loss(module, kept.inputs, kept.targets) - settings.weight * ascent

    descend(
        part.parameters(),
        loss,
        forget,
        retain,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
        enough=lambda: right(code, module, forget) <= settings.target,
    )
    return module
