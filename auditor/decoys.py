"""Suppressed copies of the original that the auditor makes to find out which checks would notice."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from auditor.data import AuditData, Examples
from auditor.plan import PlannedModel, digest_of
from auditor.randomness import derive_seed
from auditor.scores import Frozen
from auditor.zoo import gradient_ascent, head_relabelling, head_row_zeroed, neg_grad_plus

_REVISION = 1


@dataclass(frozen=True)
class _Recipe:
    method: Callable[..., nn.Module]
    settings: Frozen


_RECIPES = {
    "head_row_zeroed": _Recipe(head_row_zeroed.head_row_zeroed, head_row_zeroed.Settings()),
    "head_relabelling": _Recipe(head_relabelling.head_relabelling, head_relabelling.Settings()),
    "gradient_ascent": _Recipe(gradient_ascent.gradient_ascent, gradient_ascent.Settings()),
    "neg_grad_plus": _Recipe(neg_grad_plus.neg_grad_plus, neg_grad_plus.Settings()),
}
# A zeroed row hides a class, not a list of samples; and plain ascent on samples learnt by heart wrecks the network
# before it hides them, so there the ascent is held by retain examples.
_BY_REQUEST = {
    "class": ("head_row_zeroed", "head_relabelling", "gradient_ascent"),
    "sample": ("head_relabelling", "neg_grad_plus"),
}


def planned(request: str, original_digest: str, data_digest: str, seed: int) -> list[PlannedModel]:
    """The decoys of a request, named by the digest of how they are made: none needs making to be planned."""
    return [
        PlannedModel(
            name=name,
            role="decoy",
            source=None,
            file_digest=None,
            digest=digest_of(
                [name, _REVISION, _RECIPES[name].settings.model_dump(), original_digest, data_digest, seed]
            ),
        )
        for name in _BY_REQUEST[request]
    ]


def make(model: PlannedModel, original: nn.Module, forget: Examples, data: AuditData, seed: int) -> nn.Module:
    """Make one planned decoy.

    Args:
        model: as planned.
        original: the original network, left as it is.
        forget: the whole forget set.
        data: the audit's sets.
        seed: of the plan.
    """
    recipe = _RECIPES[model.name]
    return recipe.method(original, forget, data.retain, recipe.settings, derive_seed(seed, "decoy", model.name))
