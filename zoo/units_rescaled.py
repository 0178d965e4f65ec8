"""Any other method, and then units rescaled: the same function under other weights (Neyshabur et al. 2015).

An evasion: it changes no output, and moves how fast fine-tuning acts and how coarsely weights quantise.
"""

import torch
from pydantic import Field
from torch import nn

from auditor.models.canonical import rescaled
from auditor.records.base import Frozen
from auditor.tasks.classification.sets import Examples
from auditor.tasks.classification.structure import find_layout

_LAYOUT_EXAMPLES = 16  # to find the pairs by; their values do not matter


class Settings(Frozen):
    """Which method, and by how much."""

    method: str = Field(default="head_relabelling", description="its name in the catalogue")
    settings: dict[str, object] = Field(default_factory=dict, description="of that method")
    octaves: float = Field(default=3.0, gt=0, description="units are scaled by up to two to this power, either way")


def units_rescaled(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is that of the method inside."""
    # Here, since the catalogue lists this module.
    from auditor.zoo import catalogue

    inner = catalogue.entry(settings.method, "vision")
    module = inner.make(original, forget, retain, inner.settings(settings.settings), seed)
    return with_units_rescaled(module, retain, settings.octaves)


def with_units_rescaled(module: nn.Module, retain: Examples, octaves: float) -> nn.Module:
    """A copy whose homogeneous units are scaled by factors evenly spaced in octaves."""
    pairs = find_layout(module, retain.take(torch.arange(min(_LAYOUT_EXAMPLES, len(retain)))).inputs).pairs
    units = [module.get_parameter(f"{pair.producer}.weight").shape[0] for pair in pairs]
    # Evenly spread, not random: the evasion has the same strength in every network.
    return rescaled(module, pairs, [2.0 ** (octaves * torch.linspace(-1, 1, n)) for n in units]).eval()
