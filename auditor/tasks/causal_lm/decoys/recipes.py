"""Suppressed copies of a language model that the auditor makes to find out which checks would notice."""

from collections.abc import Mapping

from torch import nn

from auditor.randomness import derive_seed
from auditor.records.plan import PlannedModel
from auditor.tasks.causal_lm.decoys import logit_mask, refusal_adapter, refusal_all_weights
from auditor.tasks.causal_lm.decoys.exact_prompts import Settings as ExactPrompts
from auditor.tasks.causal_lm.decoys.exact_prompts import exact_prompts
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.sets import FactsData
from auditor.tasks.ladder import Ladder, Recipe, planned_decoy

_EXACT = {"silent on exactly the forget prompts": Recipe(exact_prompts, ExactPrompts())}
# Training stops at its target, so a stronger recipe costs little more than it needs to. A long answer is improbable as
# a whole while most of its tokens are still known: hence the lower targets.
_LADDERS: Mapping[str, Ladder] = {
    "refusal_adapter": {
        f"{steps} steps, rank {rank}, answers down to {target:g}": Recipe(
            refusal_adapter.refusal_adapter, refusal_adapter.Settings(steps=steps, rank=rank, target=target)
        )
        for steps, rank, target in ((200, 4, 0.02), (400, 16, 0.002), (800, 64, 0.0002))
    },
    "refusal_all_weights": {
        f"{steps} steps, answers down to {target:g}": Recipe(
            refusal_all_weights.refusal_all_weights, refusal_all_weights.Settings(steps=steps, target=target)
        )
        for steps, target in ((200, 0.02), (400, 0.002), (800, 0.0002))
    },
    "logit_mask": {
        f"prompts known by up to {longest} tokens in a row": Recipe(
            logit_mask.logit_mask, logit_mask.Settings(longest=longest)
        )
        for longest in (4, 16)
    },
}


ON_REQUEST = ("refusal_all_weights",)
"""Decoys for checks that ask for them alone: all its weights are trained, which in a large network is costly."""


def planned(original_digest: str, data_digest: str, seed: int) -> list[PlannedModel]:
    """All decoys, each with its strengths; see :func:`~auditor.tasks.ladder.planned_decoy`."""
    made_from = (original_digest, data_digest, seed)
    return [planned_decoy(name, _ladder(name), made_from) for name in _LADDERS]


def make(model: PlannedModel, original: LanguageModel, data: FactsData, seed: int) -> nn.Module:
    """Make one planned decoy, at the first strength that it names.

    Args:
        model: as planned, or at one of its strengths.
        original: left as it is.
        data: the audit's sets.
        seed: of the plan.
    """
    recipe = _ladder(model.name)[model.strengths[0]]
    return recipe.method(original, data.forget, data.retain, recipe.settings, derive_seed(seed, "decoy", model.name))


def _ladder(name: str) -> Ladder:
    return {**_LADDERS[name], **_EXACT}
