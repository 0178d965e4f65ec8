"""Which decoys an audit with the user's class has, how strong each may be made, and how one is made."""

from collections.abc import Mapping

from torch import nn

from auditor.randomness import derive_seed, torch_seed
from auditor.records.plan import PlannedModel
from auditor.tasks.custom.decoys.loss_ascent import Settings, loss_ascent
from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.custom.structure import CustomLayout
from auditor.tasks.custom.user_code import UserTask
from auditor.tasks.ladder import Ladder, Recipe, planned_decoy

_STRENGTHS = (
    ("300 steps", 300, 0.3, 1.0),
    ("600 steps, ascent weighted 1", 600, 1.0, 1.0),
    ("1,200 steps, ascent weighted 3, rate times 3", 1200, 3.0, 3.0),
)
# Each stops as soon as the forget scores are bad enough, so a stronger recipe costs little more than it needs to.
_LADDERS: Mapping[str, Ladder] = {
    name: {
        words: Recipe(loss_ascent, Settings(last_layer=last, learning_rate=rate * more, steps=steps, weight=weight))
        for words, steps, weight, more in _STRENGTHS
    }
    # One layer alone has to move further.
    for name, last, rate in (("last_layer", True, 3e-3), ("loss_ascent", False, 1e-3))
}


def planned(original_digest: str, data_digest: str, seed: int) -> list[PlannedModel]:
    """All decoys, each with its strengths; see :func:`~auditor.tasks.ladder.planned_decoy`."""
    made_from = (original_digest, data_digest, seed)
    return [planned_decoy(name, ladder, made_from) for name, ladder in _LADDERS.items()]


def make(
    model: PlannedModel, original: nn.Module, data: CustomSets, code: UserTask, layout: CustomLayout, seed: int
) -> nn.Module:
    """Make one planned decoy, at the first strength that it names.

    Args:
        model: as planned, or at one of its strengths.
        original: the original network, left as it is.
        data: the audit's sets.
        code: the user's class.
        layout: of the architecture.
        seed: of the plan.
    """
    recipe, own = _LADDERS[model.name][model.strengths[0]], derive_seed(seed, "decoy", model.name)
    # The user's loss may draw, as a diffusion model's does.
    with torch_seed(own):
        return recipe.method(
            original, data.forget, data.retain, recipe.settings, own, code=code, last_map=layout.last_map
        )
