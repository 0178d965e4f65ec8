"""The world of the contract of checks: drawn digits, a class of which is to be forgotten."""

import torch
from torch import nn

from auditor.checks.contract_worlds import ContractWorld
from auditor.models.copies import movable_copy
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.tasks.classification.request_kind import Request
from auditor.tasks.clip.subject import DualEncoder
from auditor.tasks.custom.decoys import recipes as decoys
from auditor.tasks.custom.inputs import Inputs, split
from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.custom.structure import CustomLayout, find_layout
from auditor.tasks.custom.utility import Judge
from auditor.zoo.clip.drawn_digits import RECIPE, DrawnDigits, drawn_digits, small_clip
from auditor.zoo.clip.gradient_difference import Settings, moved

_SEED = 1
_FORGOTTEN = "three"
_LAYOUT_EXAMPLES = 16


def drawn_digits_world() -> ContractWorld:
    """A small CLIP that is to forget the threes, in whatever domain."""
    world = drawn_digits(_FORGOTTEN, _SEED)
    data = sets_of(world, _SEED)
    original = train(small_clip, world.everything, RECIPE, derive_seed(_SEED, "original"), loss=world.loss)
    layout = layout_of(world, original)
    return ContractWorld(
        data=data,
        original=original,
        hidden=_hidden(original, world),
        decoys=tuple(decoy.name for decoy in decoys.planned("", "", _SEED)),
        structure={"layout": layout, "judge": Judge.by(world.code, original, data.retain)},
        adapter=DualEncoder,
    )


def _hidden(original: nn.Module, world: DrawnDigits) -> nn.Module:
    """A copy of which the projection of captions alone was trained, gently: to where the threes are told wrong."""
    module = movable_copy(original).eval()
    last = module.get_submodule("text_projection")
    return moved(module, last, world.sets["forget"], world.sets["retain"], Settings(loss_cap=3.0), _SEED)


def sets_of(world: DrawnDigits, seed: int) -> CustomSets:
    """The sets as an audit has them."""
    request = Request(kind="class", classes=())
    return split(Inputs(sets=world.sets, planned=(), request=request, notes=()), seed, world.code)


def layout_of(world: DrawnDigits, original: nn.Module) -> CustomLayout:
    """The structure as an audit finds it."""
    return find_layout(world.code, original, world.sets["retain"].take(torch.arange(_LAYOUT_EXAMPLES)))
