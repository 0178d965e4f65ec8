"""The world that the contract holds checks of diffusion models against: a few digits, a small UNet."""

import torch

from auditor.checks.contract_worlds import ContractWorld
from auditor.checks.sets import evenly
from auditor.randomness import derive_seed, torch_seed
from auditor.tasks.classification.sets import attack_half
from auditor.tasks.custom.decoys import recipes as decoys
from auditor.tasks.custom.decoys.loss_ascent import Settings, loss_ascent
from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.custom.structure import find_layout
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.custom.user_code import built_in
from auditor.tasks.custom.utility import Judge
from auditor.tasks.diffusion.code import DiffusionCode
from auditor.tasks.diffusion.task import NAME
from auditor.zoo.diffusion.digits import RECIPE, diffusion_digits, trained

SEED = 1
FORGET_CLASS = 3
SHORT = RECIPE.model_copy(update={"epochs": 14})
"""Enough to know the digits by, not to draw them well."""
_SIZES = {"forget": 32, "retain": 96, "holdout": 24}
_HIDES = Settings(last_layer=True, learning_rate=1e-2, steps=60, weight=1.0)


def drawn_digits() -> ContractWorld:
    """Digits that a network was taught to draw, and a copy whose last layer alone was turned against one of them."""
    world = diffusion_digits(FORGET_CLASS, SEED)
    sets = {name: evenly(world[name], most) for name, most in _SIZES.items()}
    half = attack_half(sets["forget"], derive_seed(SEED, "split"))
    data = CustomSets(
        request="class",
        classes=(FORGET_CLASS,),
        n_classes=0,
        forget_attack=sets["forget"].take(half),
        forget_eval=sets["forget"].take(~half),
        retain=sets["retain"],
        holdout=sets["holdout"],
    )
    original = trained(world["train"], SEED, SHORT)
    code = built_in(DiffusionCode(), NAME)
    layout = find_layout(code, original, data.retain.take(torch.arange(8)))
    with torch_seed(SEED):
        hidden = loss_ascent(original, data.forget, data.retain, _HIDES, SEED, code=code, last_map=layout.last_map)
    return ContractWorld(
        data=data,
        original=original,
        hidden=hidden,
        decoys=tuple(decoy.name for decoy in decoys.planned("", "", SEED)),
        structure={"layout": layout, "judge": Judge.by(code, original, data.retain)},
        adapter=CustomModel,
    )
