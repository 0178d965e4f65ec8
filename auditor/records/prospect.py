"""What each road would bring if this original were like those measured; said beside a plan, no part of it."""

from dataclasses import dataclass
from typing import Literal

from auditor.records.plan import PlannedAssignment


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """A number over several originals."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Prospect:
    """What one road would bring if this original were like those measured.

    Attributes:
        null: what the unlearned model would be held against.
        models: beside the pair: models that saw neither side, or references.
        originals: how many were measured.
        resolution: the coarsest primary's w, in units of ρ.
        pass_probability: how likely a true deletion is to pass the primaries' limits and tests.
    """

    null: Literal["holdout", "references"]
    models: int
    originals: int
    resolution: Range
    pass_probability: Range


@dataclass(frozen=True, kw_only=True, slots=True)
class Prospects:
    """The roads side by side, as other originals have them.

    Attributes:
        about: which originals these were, in words.
        divided: by chance, or would have to be.
        found: one for each road.
    """

    about: str
    divided: PlannedAssignment
    found: tuple[Prospect, ...]
