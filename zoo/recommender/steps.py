"""A few more steps of training: on retain alone, which forgets nothing, or against what is to be forgotten."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.randomness import torch_seed
from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.recommender.editing import copy_of, descend, endless, loss_on, without_edges


class FewSettings(Frozen):
    """A few small steps."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    steps: int = Field(default=20, ge=1)
    batch_size: int = Field(default=128, ge=1)


class AscentSettings(Frozen):
    """Ascent on forget beside descent on retain."""

    learning_rate: float = Field(default=0.01, gt=0, description="of Adam")
    steps: int = Field(default=150, ge=1)
    weight: float = Field(default=1.0, gt=0, description="of the ascent, beside 1 for the descent")
    cap: float = Field(default=4.0, gt=0, description="loss beyond which a batch is not climbed any further")
    batch_size: int = Field(default=128, ge=1)
    edges: bool = Field(default=False, description="whether forgotten interactions stay in the graph")


def retain_steps(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: FewSettings, seed: int
) -> nn.Module:
    """The subject: not forgotten by construction; its graph still holds what was to be forgotten."""
    module = copy_of(original)
    batches = endless(retain, settings.batch_size, torch.Generator().manual_seed(seed))
    with torch_seed(seed):
        descend(module.parameters(), lambda: loss_on(module, next(batches)), settings.steps, settings.learning_rate)
    return module


def bpr_ascent(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: AscentSettings, seed: int
) -> nn.Module:
    """The subject of NegGrad+ (Kurmanji et al. 2023, arXiv 2302.09880) with the pairwise loss; its truth is unknown."""
    module = copy_of(original) if settings.edges else without_edges(original, retain)
    random = torch.Generator().manual_seed(seed)
    kept, lost = (endless(part, settings.batch_size, random) for part in (retain, forget))

    def loss() -> Tensor:
        up = loss_on(module, next(lost)).clamp(max=settings.cap)
        return loss_on(module, next(kept)) - settings.weight * up

    with torch_seed(seed):
        descend(module.parameters(), loss, settings.steps, settings.learning_rate)
    return module
