"""The scenes in small, for the contract of checks."""

import torch

from auditor.checks.contract_worlds import ContractWorld
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.tasks.classification.sets import attack_half
from auditor.tasks.custom.decoys import recipes as decoys
from auditor.tasks.custom.references import loss_of
from auditor.tasks.custom.sets import CustomSets, joined
from auditor.tasks.custom.structure import find_layout
from auditor.tasks.custom.user_code import built_in
from auditor.tasks.custom.utility import Judge
from auditor.tasks.vision_language.code import VisionLanguageCode
from auditor.tasks.vision_language.subject import VisionLanguageModel
from auditor.tasks.vision_language.task import VisionLanguage
from auditor.zoo.vision_language.obliviate import Settings, obliviate
from auditor.zoo.vision_language.scenes import scene_world
from auditor.zoo.vision_language.scenes_model import RECIPE, scenes_model

_SEED = 1
_LAYOUT_EXAMPLES = 8


def scenes() -> ContractWorld:
    """Five characters, one of whom a small network is to forget."""
    world = scene_world(_SEED, characters=5, pictures=12, test_pictures=6)
    mask = attack_half(world.forget, _SEED)
    data = CustomSets(
        request="class",
        classes=(),
        n_classes=0,
        forget_attack=world.forget.take(mask),
        forget_eval=world.forget.take(~mask),
        retain=world.retain,
        holdout=world.holdout,
    )
    code = built_in(VisionLanguageCode(), VisionLanguage.name)
    recipe = RECIPE.model_copy(update={"epochs": 30, "batch_size": 16})
    everything = joined(world.forget, world.retain)
    original = train(scenes_model, everything, recipe, derive_seed(_SEED, "original"), loss=loss_of(code))
    return ContractWorld(
        data=data,
        original=original,
        # Everything below the head is the original's: a check that looks there has no excuse.
        hidden=obliviate(original, world.forget, world.retain, Settings(steps=100), _SEED),
        decoys=tuple(decoy.name for decoy in decoys.planned("", "", _SEED)),
        structure={
            "layout": find_layout(code, original, data.retain.take(torch.arange(_LAYOUT_EXAMPLES))),
            "judge": Judge.by(code, original, data.retain),
        },
        adapter=VisionLanguageModel,
    )
