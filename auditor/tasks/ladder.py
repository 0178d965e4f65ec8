"""The strengths of a decoy: recipes from weak to strong, fixed before an audit and covered by the decoy's digest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from auditor.digests import digest_of
from auditor.records.base import Frozen
from auditor.records.plan import PlannedModel

# Raise it when a method changes but not its settings: stored scores belong to the decoy as it was made before.
_REVISION = 3


@dataclass(frozen=True)
class Recipe:
    """One way to make a decoy.

    Attributes:
        method: takes (original, forget, retain, settings, seed) and returns the decoy.
        settings: of the method.
    """

    method: Callable[..., nn.Module]
    settings: Frozen


Ladder = Mapping[str, Recipe]
"""Recipes by their strength in words, weakest first."""


def planned_decoy(name: str, ladder: Ladder, made_from: Sequence[str | int]) -> PlannedModel:
    """A decoy with all its strengths, named by the digest of how it is made: it need not be made to be planned.

    Args:
        name: of the decoy.
        ladder: its recipes.
        made_from: digests of the original and the data, and the seed.
    """
    # All strengths are in the digest, since which one is taken is known only once decoys are scored.
    recipes = [[words, r.method.__name__, r.settings.model_dump(mode="json")] for words, r in ladder.items()]
    return PlannedModel(
        name=name,
        role="decoy",
        source=None,
        file_digest=None,
        digest=digest_of([name, _REVISION, recipes, *made_from]),
        strengths=tuple(ladder),
    )
