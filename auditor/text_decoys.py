"""Suppressed copies of a language model that the auditor makes to find out which checks would notice."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from auditor.facts import FactsData
from auditor.plan import PlannedModel, digest_of
from auditor.randomness import derive_seed
from auditor.scores import Frozen
from auditor.subjects.encoding import Encoder
from auditor.zoo.text import logit_mask, refusal_adapter
from auditor.zoo.text.method import LanguageModel

_REVISION = 1


@dataclass(frozen=True)
class _Recipe:
    method: Callable[..., nn.Module]
    settings: Frozen


_RECIPES = {
    "refusal_adapter": _Recipe(refusal_adapter.refusal_adapter, refusal_adapter.Settings()),
    "logit_mask": _Recipe(logit_mask.logit_mask, logit_mask.Settings()),
}


def planned(original_digest: str, data_digest: str, seed: int) -> list[PlannedModel]:
    """The decoys, named by the digest of how they are made: none needs making to be planned."""
    return [
        PlannedModel(
            name=name,
            role="decoy",
            source=None,
            file_digest=None,
            digest=digest_of([name, _REVISION, recipe.settings.model_dump(), original_digest, data_digest, seed]),
        )
        for name, recipe in _RECIPES.items()
    ]


def make(model: PlannedModel, original: nn.Module, encoder: Encoder, data: FactsData, seed: int) -> nn.Module:
    """Make one planned decoy.

    Args:
        model: as planned.
        original: the original network, left as it is.
        encoder: of the audit.
        data: the audit's sets.
        seed: of the plan.
    """
    recipe = _RECIPES[model.name]
    given = LanguageModel(original, encoder)
    return recipe.method(given, data.forget, data.retain, recipe.settings, derive_seed(seed, "decoy", model.name))
