"""Obliviate (Li et al. 2025, arXiv 2508.04567): the language model's head alone unlearns what it wrongly says.

The paper takes the difference between labels and the model's own outputs for what is to be unlearnt, and trains nothing
but the head, some 2 % of the weights. It is made against hallucinated objects; asked to forget a concept, it leaves all
that a picture becomes inside as it was, so that what it makes is suppressed by construction. Only the abstract was to
be had: the form of the loss is ours.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.vision_language.editing import Network, copy_of, descend, scores

_NEVER = 1e-4


class Settings(Frozen):
    """Loss = CE(retain) − weight · log(1 − p(answer to be forgotten))."""

    learning_rate: float = Field(default=1e-2, gt=0, description="of Adam, on the head")
    weight: float = Field(default=0.3, gt=0, description="of what is unlearnt")
    steps: int = Field(default=300, ge=1)
    batch_size: int = Field(default=32, ge=1, description="examples of either set per step")


def obliviate(
    original: Network, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: suppressed. All but its head is the original's, to the last bit."""
    module = copy_of(original)

    def loss(lost: CustomExamples, kept: CustomExamples) -> Tensor:
        # Unlikelihood: it has no gradient left where the answer is no longer given, unlike an ascent.
        unlearnt = -torch.log1p(-scores(module, lost).exp().clamp_max(1 - _NEVER)).mean()
        return settings.weight * unlearnt - scores(module, kept).mean()

    descend(
        loss,
        forget,
        retain,
        module.lm_head.parameters(),
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
    )
    subject: nn.Module = module
    return subject
