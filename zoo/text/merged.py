"""Two unlearned models merged, one that forgot too much and one too little (Xu et al. 2025, arXiv 2503.21088).

Merged by TIES (Yadav et al. 2023, arXiv 2306.01708): of both changes the smallest are dropped, each weight takes the
sign that weighs more, and the mean of the changes of that sign.
"""

from types import ModuleType

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.text import npo


class Settings(Frozen):
    """Two runs of NPO, and how their changes are merged."""

    over: npo.Settings = Field(default=npo.Settings(weight=2.0, steps=200, target=0.0), description="forgets more")
    under: npo.Settings = Field(
        default=npo.Settings(weight=0.2, target=0.3), description="forgets less, and too little"
    )
    density: float = Field(
        default=0.8, gt=0, lt=1, description="share of each change that is kept, by size, map by map"
    )
    scale: float = Field(default=1.0, gt=0, description="of the merged change")


def merged(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance.

    Raises:
        UsageError: PEFT, which merges, is not installed.
    """
    merging = _merging()
    # In one order of the facts: what differs between the two is how hard they forget.
    tuned = [npo.npo(original, forget, retain, how, seed) for how in (settings.over, settings.under)]
    module = copy_of(original)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            changes = [other.get_parameter(name) - weight for other in tuned]
            change: Tensor = merging.ties(changes, torch.ones(len(changes)), settings.density)
            weight.add_(settings.scale * change)
    return module


def _merging() -> ModuleType:
    try:
        from peft.utils import merge_utils
    except ImportError:
        raise UsageError("merging is PEFT's; pip install 'unlearning-auditor[adapters]'") from None
    return merge_utils
