"""SalUn: random labels on the weights that matter most for the forget set (Fan et al. 2024, arXiv 2310.12508)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of, logits, shuffled, with_wrong_labels
from auditor.tasks.classification.sets import Examples
from auditor.zoo.attribution import largest


class Settings(Frozen):
    """The mask and the fine-tuning under it."""

    share: float = Field(default=0.5, gt=0, le=1, description="of all weights that may move, the most salient ones")
    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    epochs: int = Field(default=10, ge=1, description="over retain and forget together")
    batch_size: int = Field(default=64, ge=1)


def salun(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance. Weights outside the mask are the original's."""
    module = copy_of(original)
    masks = salient(module, forget, settings)
    random = torch.Generator().manual_seed(seed)
    # The mask says where, random labels say how: SalUn's variant for classification.
    mixed = with_wrong_labels(forget, retain, random)
    parameters = list(module.parameters())
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate)
    for _ in range(settings.epochs):
        for x, y in shuffled(mixed, settings.batch_size, random):
            gradients = torch.autograd.grad(nn.functional.cross_entropy(logits(module, x), y), parameters)
            for parameter, gradient, mask in zip(parameters, gradients, masks, strict=True):
                # Masked before Adam sees it: its moments stay 0 there, so that unselected weights stay bit-equal.
                parameter.grad = gradient * mask
            optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return module.eval()


def salient(module: nn.Module, forget: Examples, settings: Settings) -> list[Tensor]:
    """Bool masks, one per parameter, of the share whose gradient on the forget set is largest (equation 4)."""
    parameters = list(module.parameters())
    loss = -nn.functional.cross_entropy(logits(module, forget.inputs), forget.labels)
    return largest([gradient.abs() for gradient in torch.autograd.grad(loss, parameters)], settings.share)
