"""Suppressed copies of the original that the auditor makes to find out which checks would notice."""

from collections.abc import Mapping

from torch import nn

from auditor.randomness import derive_seed
from auditor.records.plan import PlannedModel
from auditor.tasks.classification.decoys import gradient_ascent, head_relabelling, head_row_zeroed, neg_grad_plus
from auditor.tasks.classification.decoys.exact_inputs import Settings as ExactInputs
from auditor.tasks.classification.decoys.exact_inputs import exact_inputs
from auditor.tasks.classification.sets import AuditData, Examples
from auditor.tasks.ladder import Ladder, Recipe, planned_decoy

_EXACT = {"wrong about exactly the forget inputs": Recipe(exact_inputs, ExactInputs())}
# Training stops as soon as the forget set is forgotten, so a stronger recipe costs little more than it needs to.
_LADDERS: Mapping[str, Ladder] = {
    "head_row_zeroed": {
        f"{margin:g} below the lowest logit": Recipe(
            head_row_zeroed.head_row_zeroed, head_row_zeroed.Settings(margin=margin)
        )
        for margin in (1.0, 100.0)
    },
    "head_relabelling": {
        words: Recipe(head_relabelling.head_relabelling, head_relabelling.Settings(epochs=epochs, learning_rate=rate))
        for words, epochs, rate in (
            ("30 epochs", 30, 1e-2),
            ("60 epochs, rate doubled", 60, 2e-2),
            ("120 epochs, rate times 4", 120, 4e-2),
        )
    },
    "gradient_ascent": {
        words: Recipe(gradient_ascent.gradient_ascent, gradient_ascent.Settings(max_steps=steps, learning_rate=rate))
        for words, steps, rate in (
            ("300 steps", 300, 1e-2),
            ("600 steps, rate doubled", 600, 2e-2),
            ("1,200 steps, rate times 4", 1200, 4e-2),
        )
    },
    "neg_grad_plus": {
        words: Recipe(neg_grad_plus.neg_grad_plus, neg_grad_plus.Settings(max_steps=steps, weight=weight))
        for words, steps, weight in (
            ("300 steps", 300, 0.3),
            ("600 steps, ascent weighted 1", 600, 1.0),
            ("1,200 steps, ascent weighted 3", 1200, 3.0),
        )
    },
}
# A zeroed row hides a class, not a list of samples; and plain ascent on samples learnt by heart wrecks the network
# before it hides them, so there the ascent is held by retain examples.
_BY_REQUEST = {
    "class": ("head_row_zeroed", "head_relabelling", "gradient_ascent"),
    "sample": ("head_relabelling", "neg_grad_plus"),
}


def planned(request: str, original_digest: str, data_digest: str, seed: int) -> list[PlannedModel]:
    """The decoys of a request, each with its strengths; see :func:`~auditor.tasks.ladder.planned_decoy`."""
    made_from = (original_digest, data_digest, seed)
    return [planned_decoy(name, _ladder(name), made_from) for name in _BY_REQUEST[request]]


def make(model: PlannedModel, original: nn.Module, forget: Examples, data: AuditData, seed: int) -> nn.Module:
    """Make one planned decoy, at the first strength that it names.

    Args:
        model: as planned, or at one of its strengths.
        original: the original network, left as it is.
        forget: the whole forget set.
        data: the audit's sets.
        seed: of the plan.
    """
    recipe = _ladder(model.name)[model.strengths[0]]
    return recipe.method(original, forget, data.retain, recipe.settings, derive_seed(seed, "decoy", model.name))


def _ladder(name: str) -> Ladder:
    return {**_LADDERS[name], **_EXACT}
