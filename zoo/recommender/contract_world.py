"""A tiny world of tastes for the contract of checks."""

import torch

from auditor.checks.contract_worlds import ContractWorld
from auditor.tasks.custom.decoys import recipes
from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.custom.structure import find_layout
from auditor.tasks.custom.utility import Judge
from auditor.tasks.recommender.subject import RecommenderModel
from auditor.tasks.recommender.task import task_code
from auditor.zoo.recommender.rows import PushSettings, users_pushed
from auditor.zoo.recommender.world import Sizes, taste_world

_SEED = 1
_TINY = Sizes(groups=4, users=10, items=12, own=9, others=3, width=8)
_LAYOUT_EXAMPLES = 8


def tastes() -> ContractWorld:
    """Users of four tastes, one group of whom a small recommender is to forget."""
    world, code = taste_world(_SEED, _TINY), task_code()
    forget = world.sets["forget"]
    attack = torch.arange(len(forget)) % 2 == 0
    data = CustomSets(
        request="class",
        classes=(),
        n_classes=0,
        forget_attack=forget.take(attack),
        forget_eval=forget.take(~attack),
        retain=world.sets["retain"],
        holdout=world.sets["holdout"],
    )
    original = world.trained(world.everything, _SEED)
    # The rows of items are the original's, so that a check that looks inside has no excuse.
    hidden = users_pushed(original, forget, world.sets["retain"], PushSettings(steps=30), _SEED)
    return ContractWorld(
        data=data,
        original=original,
        hidden=hidden,
        decoys=tuple(decoy.name for decoy in recipes.planned("", "", _SEED)),
        structure={
            "layout": find_layout(code, original, data.retain.take(torch.arange(_LAYOUT_EXAMPLES))),
            "judge": Judge.by(code, original, data.retain),
        },
        adapter=RecommenderModel,
    )
