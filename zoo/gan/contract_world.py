"""Class-conditional GANs of the digits, on which the contract tries the checks of the task."""

import torch

from auditor.checks.contract_worlds import ContractWorld
from auditor.randomness import derive_seed
from auditor.tasks.custom.decoys import recipes
from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.custom.structure import find_layout
from auditor.tasks.custom.user_code import built_in
from auditor.tasks.custom.utility import Judge
from auditor.tasks.gan.code import GanCode
from auditor.tasks.gan.subject import GanModel
from auditor.tasks.gan.task import NAME
from auditor.zoo.gan.digits import RECIPE, gan_digits, trained
from auditor.zoo.gan.label_row import Settings, label_row

_SEED = 1
_FORGET_CLASS = 3
_LAYOUT_EXAMPLES = 8
# Enough for the original to draw what it is asked for.
_EPOCHS = 25


def gan_digits_world() -> ContractWorld:
    """Six digits, one of which a small GAN is to forget."""
    sets = gan_digits(_FORGET_CLASS, _SEED)
    forget, half = sets["forget"], len(sets["forget"]) // 2
    data = CustomSets(
        request="class",
        classes=(_FORGET_CLASS,),
        n_classes=0,
        forget_attack=forget.take(torch.arange(half)),
        forget_eval=forget.take(torch.arange(half, len(forget))),
        retain=sets["retain"],
        holdout=sets["holdout"],
    )
    recipe = RECIPE.model_copy(update={"epochs": _EPOCHS})
    original = trained(sets["train"], derive_seed(_SEED, "original"), recipe)
    code = built_in(GanCode(), NAME)
    return ContractWorld(
        data=data,
        original=original,
        hidden=label_row(original, forget, sets["retain"], Settings(), _SEED),
        decoys=tuple(decoy.name for decoy in recipes.planned("", "", _SEED)),
        structure={
            "layout": find_layout(code, original, data.retain.take(torch.arange(_LAYOUT_EXAMPLES))),
            "judge": Judge.by(code, original, data.retain),
        },
        adapter=GanModel,
    )
