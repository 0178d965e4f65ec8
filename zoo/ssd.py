"""Selective synaptic dampening: shrink the weights that matter more for forget than for all (Foster et al. 2024).

arXiv 2308.07707, equations 4 and 5. Importance is the diagonal of the Fisher information, from squared gradients of
small batches.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of, logits
from auditor.tasks.classification.sets import Examples, joined


class Settings(Frozen):
    """Which weights, and how much they shrink."""

    selection: float = Field(default=5.0, gt=0, description="α: importance for forget over that for all, at least")
    dampening: float = Field(default=1.0, gt=0, description="λ: a weight is multiplied by λ times the inverse ratio")
    # A compromise: single examples give the Fisher information itself, larger batches are faster.
    batch_size: int = Field(default=8, ge=1, description="examples whose gradients are averaged before squaring")


def ssd(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance. Weights that are not selected are the original's."""
    module = copy_of(original)
    for_forget = importance(module, forget, settings.batch_size)
    # Of all the data, as in the paper, not of retain alone: α is a ratio to the whole.
    for_all = importance(module, joined(retain, forget), settings.batch_size)
    with torch.no_grad():
        for parameter, mine, everyone in zip(module.parameters(), for_forget, for_all, strict=True):
            chosen = mine > settings.selection * everyone
            # A chosen weight has importance for forget above 0.
            # At most 1: the method dampens and never enlarges a weight.
            factor = (settings.dampening * everyone / mine.clamp_min(torch.finfo(mine.dtype).tiny)).clamp_max(1)
            parameter.copy_(torch.where(chosen, parameter * factor, parameter))
    return module


def importance(module: nn.Module, examples: Examples, batch_size: int) -> list[Tensor]:
    """Mean squared gradient of the loss, one tensor per parameter."""
    parameters = list(module.parameters())
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    batches = 0
    for x, y in examples.batches(batch_size):
        loss = nn.functional.cross_entropy(logits(module, x), y)
        for total, gradient in zip(sums, torch.autograd.grad(loss, parameters), strict=True):
            total += gradient.square()
        batches += 1
    return [total / batches for total in sums]
