"""WAGLE: NegGrad+ on the weights that are attributed to forgetting (Jia et al. 2024, arXiv 2410.17509).

The paper's models are language models (:mod:`auditor.zoo.text.wagle`); here its mask stands before the ascent of image
classifiers.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.tasks.classification.decoys import neg_grad_plus
from auditor.tasks.classification.editing import copy_of, logits
from auditor.tasks.classification.sets import Examples
from auditor.zoo.attribution import attributed


class Settings(neg_grad_plus.Settings):
    """The mask, and NegGrad+ under it."""

    share: float = Field(default=0.2, gt=0, le=1, description="of all weights that may move, those of largest score")
    curvature: float = Field(default=1e-3, gt=0, description="γ, that of the retain loss, the same for every weight")


def wagle(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance. Weights outside the mask are the original's."""
    module = copy_of(original)
    parameters = list(module.parameters())
    # Of −CE, since that is what NegGrad+ descends on forget.
    ascent = [-gradient for gradient in _gradients(module, forget)]
    masks = attributed(
        parameters, ascent, _gradients(module, retain), curvature=settings.curvature, share=settings.share
    )
    # Masked before Adam sees it: its moments stay 0 there, so that unselected weights stay bit-equal.
    handles = [
        parameter.register_hook(lambda gradient, chosen=chosen: gradient * chosen)
        for parameter, chosen in zip(parameters, masks, strict=True)
    ]
    neg_grad_plus.trained(module, forget, retain, settings, seed)
    for handle in handles:
        handle.remove()
    return module


def _gradients(module: nn.Module, examples: Examples) -> list[Tensor]:
    """Of the mean loss, one tensor per parameter."""
    loss = nn.functional.cross_entropy(logits(module, examples.inputs), examples.labels)
    return list(torch.autograd.grad(loss, list(module.parameters())))
