"""Gradient ascent on the forget loss, held by descent on retain examples, all weights (NegGrad+).

Kurmanji et al. 2023 (arXiv 2302.09880) name the combination.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.custom.decoys.training import copy_of, endless, mean_score, trained_until, with_targets_of
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.user_code import UserTask


class Settings(Frozen):
    """Adam, clipped."""

    learning_rate: float = Field(default=1e-3, gt=0)
    steps: int = Field(ge=1, description="at most; it stops once forget scores are as bad as under wrong targets")
    weight: float = Field(gt=0, description="of the ascent, beside 1 for the descent")
    batch_size: int = Field(default=64, ge=1)


def loss_ascent(
    original: nn.Module,
    forget: CustomExamples,
    retain: CustomExamples,
    settings: Settings,
    seed: int,
    *,
    code: UserTask,
    last_map: str,
) -> nn.Module:
    """The subject; the arguments are those of :func:`auditor.tasks.custom.decoys.last_layer.last_layer`."""
    module, random = copy_of(original), torch.Generator().manual_seed(seed)
    worst = mean_score(code, original, with_targets_of(forget, retain, random))
    kept, lost = (endless(part, settings.batch_size, random) for part in (retain, forget))

    def loss() -> Tensor:
        down, up = next(kept), next(lost)
        return code.loss(module, down.inputs, down.targets) - settings.weight * code.loss(module, up.inputs, up.targets)

    return trained_until(
        module,
        [p for p in module.parameters() if p.requires_grad],
        loss,
        lambda: mean_score(code, module, forget) <= worst,
        learning_rate=settings.learning_rate,
        steps=settings.steps,
    )
