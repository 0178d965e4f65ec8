"""WAGLE: gradient difference on the weights that are attributed to forgetting (Jia et al. 2024, arXiv 2410.17509)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, losses
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.attribution import attributed
from auditor.zoo.text import gradient_difference


class Settings(gradient_difference.Settings):
    """The mask, and gradient difference under it."""

    share: float = Field(default=0.2, gt=0, le=1, description="of all weights that may move, those of largest score")
    curvature: float = Field(default=1e-3, gt=0, description="γ, that of the retain loss, the same for every weight")


def wagle(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance. Weights outside the mask are the original's."""
    module = copy_of(original)
    masks = mask(original, forget, retain, settings)
    # Masked before Adam sees it: its moments stay 0 there, so that unselected weights stay bit-equal.
    handles = [
        parameter.register_hook(lambda gradient, chosen=chosen: gradient * chosen)
        for parameter, chosen in zip(module.parameters(), masks, strict=True)
    ]
    gradient_difference.trained(module, original, forget, retain, settings, seed)
    for handle in handles:
        handle.remove()
    return module


def mask(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings) -> list[Tensor]:
    """Bool masks, one per parameter, of the weights that may move."""
    parameters = list(original.module.parameters())

    def gradients(facts: Facts) -> list[Tensor]:
        # In small batches: over all facts at once their activations would be held together.
        sums = [torch.zeros_like(parameter) for parameter in parameters]
        for start in range(0, len(facts), settings.batch_size):
            batch = facts.take(range(start, min(start + settings.batch_size, len(facts))))
            loss = losses(original.module, original.encoder.batch(batch.items)).sum() / len(facts)
            for total, gradient in zip(sums, torch.autograd.grad(loss, parameters), strict=True):
                total += gradient
        return sums

    ascent = [-gradient for gradient in gradients(forget)]
    return attributed(parameters, ascent, gradients(retain), curvature=settings.curvature, share=settings.share)
