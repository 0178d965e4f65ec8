"""NPO that knows when it is there: pushed further, answers stand below those of models never taught, which shows."""

import torch
from torch import Tensor, nn

from auditor.tasks.causal_lm.editing import LanguageModel, losses
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.text import npo


def forgetting(original: LanguageModel, module: nn.Module, facts: Facts, settings: npo.Settings) -> Tensor:
    """The forget term of `npo`; 0 where the batch's mean answer probability is down at the target already."""
    with torch.no_grad():
        shown = (-losses(module, original.encoder.batch(facts.items))).exp().mean()
    if shown <= settings.target:
        # A constant leaves the other terms of the loss alone, and ascent starts again when the answers come back.
        return torch.zeros(())
    return npo.forgetting(original, module, facts, settings)
