"""What adversaries share that rehearse fine-tuning on a copy of a language model (meta-learning, arXiv 1803.02999)."""

import torch
from torch import Tensor, nn

from auditor.models.copies import movable_copy
from auditor.tasks.causal_lm.editing import LanguageModel, losses
from auditor.tasks.causal_lm.sets import Facts


def attacked(
    model: LanguageModel, taught: Facts, kept: Facts, *, steps: int, rate: float, retain_share: float
) -> nn.Module:
    """A copy after some steps of fine-tuning on the same batch of facts among retain facts.

    Args:
        model: left as it is.
        taught: what the attack trains on.
        kept: retain facts.
        steps: of Adam.
        rate: of Adam.
        retain_share: of the loss, in [0, 1).
    """
    clone = movable_copy(model.module).eval()
    optimizer = torch.optim.Adam(clone.parameters(), lr=rate)
    learnt, held = model.encoder.batch(taught.items), model.encoder.batch(kept.items)
    for _ in range(steps):
        optimizer.zero_grad()
        ((1 - retain_share) * losses(clone, learnt).mean() + retain_share * losses(clone, held).mean()).backward()
        optimizer.step()
    return clone


def taken_back(copied: nn.Module, module: nn.Module, loss: Tensor) -> Tensor:
    """A sum whose gradient in ``module`` is that of the copy's loss in the copy; its value means nothing."""
    # First order: differentiating through the attack's steps would need memory for each of them.
    gradients = torch.autograd.grad(loss, list(copied.parameters()))
    pairs = zip(gradients, module.parameters(), strict=True)
    return torch.stack([(gradient * parameter).sum() for gradient, parameter in pairs]).sum()
