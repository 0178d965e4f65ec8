"""Against `depth`: what the original says of patched activations is trained to be what it says of a retrain's.

At each layer the subject's activations are carried into the original's space by a map fitted on retain examples, as the
check does it, and the original runs on from there. The map is fitted again at every step and taken as fixed; gradients
pass through the activations. The outputs and the rank of `few_shot` are under the same pressure.
"""

import copy

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.models.alignment import fit_affine
from auditor.models.alignment import rows as as_rows
from auditor.models.hooks import hook
from auditor.tasks.classification.editing import logits
from auditor.tasks.classification.sets import Examples
from auditor.tasks.classification.structure import find_layout
from auditor.zoo.adversaries import soft_rank
from auditor.zoo.adversaries.pressure import (
    Draw,
    Quantity,
    activations,
    like,
    margins,
    margins_of,
    own_retrains,
    pressed,
)

_LAYOUT_EXAMPLES = 16


class Settings(soft_rank.Settings):
    """Loss = CE(retain) + penalties on outputs, rank and patched margins, each against the adversary's own retrains."""

    patch_weight: float = Field(default=0.3, ge=0, description="of the patched margins, per nat from the target")
    ridge: float = Field(default=1e-3, gt=0, description="penalty of the maps, per row")


def patching_aware(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject; a patient attacker tells its truth (:mod:`auditor.zoo.adversaries.patient`)."""
    retrains = own_retrains(original, retain, settings, seed)
    # Pressure on the patched margins alone would leave `few_shot` to accuse.
    rank = soft_rank.soft_log_rank(original, retain, settings.temperature)
    penalties = [
        like(retrains, margins, settings.output_weight),
        like(retrains, rank, settings.rank_weight),
        like(retrains, patched_margins(original, retain, settings.ridge), settings.patch_weight),
    ]
    return pressed(original, forget, retain, penalties, settings, seed)


def patched_margins(original: nn.Module, retain: Examples, ridge: float) -> Quantity:
    """Logit margins of forget examples in the patched original, by layer, [layers, n].

    Args:
        original: what is patched.
        retain: to find the layers by.
        ridge: of the maps.
    """
    # A frozen copy: the caller's original stays free to train.
    target = copy.deepcopy(original).requires_grad_(False)
    few = retain.take(torch.arange(min(_LAYOUT_EXAMPLES, len(retain)))).inputs
    layers = find_layout(original, few).layers

    def patched(module: nn.Module, draw: Draw) -> Tensor:
        n, both = len(draw.forget), torch.cat([draw.forget.inputs, draw.retain.inputs])
        own, theirs = activations(module, layers, both), activations(target, layers, draw.retain.inputs)
        found = []
        for layer, source, goal in zip(layers, own, theirs, strict=True):
            # As the check fits it, on retain alone: a map that saw forget examples could carry the knowledge.
            mapped = fit_affine(as_rows(source[n:].detach()), as_rows(goal), ridge)(source[:n])
            found.append(margins_of(_patched_logits(target, layer, mapped, draw), draw.forget.labels))
        return torch.stack(found)

    return patched


def _patched_logits(target: nn.Module, layer: str, mapped: Tensor, draw: Draw) -> Tensor:
    with hook(target, layer, lambda _: mapped):
        return logits(target, draw.forget.inputs)
