"""What goes into a comparison with a null, and what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from auditor.checks.check import AnyCheck
from auditor.inference.statistics import Limits
from auditor.records.evidence import ContrastRow, DecoyResult, Interval, SpreadRecord
from auditor.records.policy import Policy, PriorSpread
from auditor.records.score import Score

CLEARING = ("references", "controls", "holdout")
"""Kinds of null against which a check may clear: models, concepts or subjects that never had part in the knowledge."""


@dataclass(frozen=True, kw_only=True)
class CheckScores:
    """One check's scores, by the part each model plays.

    Attributes:
        original: of the original.
        unlearned: of the subject.
        references: of the counted references, by name.
        drawn: of references that are drawn but not counted.
        perturbed: of references trained by a perturbed recipe.
        neither: of models of any recipe that saw neither forget nor holdout.
        decoys: of the suppressed copies made by the auditor.
    """

    original: Score
    unlearned: Score
    references: Mapping[str, Score]
    drawn: Mapping[str, Score]
    perturbed: Mapping[str, Score]
    decoys: Mapping[str, Score]
    neither: Mapping[str, Score] = field(default_factory=dict)

    @property
    def innocent(self) -> Mapping[str, Score]:
        """Of every model that saw neither side, references among them."""
        return {**self.references, **self.neither}

    def rescaled(self, check: AnyCheck) -> "CheckScores":
        """Every score as the check's :meth:`~auditor.checks.check.Check.rescale` leaves it."""
        # The scale comes from original and references alone: the subject must not move the axis it is placed on.
        rescale = check.rescale(self.original, list(self.references.values()))
        parts = {
            part: {name: rescale(score) for name, score in getattr(self, part).items()}
            for part in ("references", "drawn", "perturbed", "decoys", "neither")
        }
        return CheckScores(original=rescale(self.original), unlearned=rescale(self.unlearned), **parts)

    def all(self) -> dict[str, Score]:
        """Every score by model name, in the order of the figures."""
        named = {"original": self.original, "unlearned": self.unlearned}
        return {**named, **self.references, **self.drawn, **self.perturbed, **self.neither, **self.decoys}


@dataclass(frozen=True, kw_only=True)
class Question:
    """One check's scores, and what is asked of them.

    Attributes:
        check: that made the scores.
        scores: rescaled.
        chosen: readings that make up T.
        policy: thresholds at which p-values are taken.
        population: whether the request is about a population of which the examples are a sample.
        goal: ``data`` or ``concept``.
        prior: what calibration knows of the references' spread; None outside the calibrated domain.
        seed: of draws that a null makes.
        by_chance: whether chance divided forget and holdout, so that references may be of any recipe.
        exchangeable: whether someone declares forget and holdout alike, which nobody drew.
    """

    check: AnyCheck
    scores: CheckScores
    chosen: tuple[str, ...]
    policy: Policy
    population: bool
    goal: str
    prior: PriorSpread | None
    seed: int
    by_chance: bool
    exchangeable: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The subject held against one null.

    Attributes:
        against: its models or items in words, as in "the original does not score above …".
        null: r̄, what ρ = 0 stands for.
        limits: of ρ; None where the original does not stand above the null.
        resolution: w, the smallest residue that could be ruled out; None without a gap, or where it cannot clear.
        p_value: one-sided, against ρ ≤ τ_suppressed.
        p_trace: one-sided, against ρ ≤ 0.
        p_deficit: one-sided, against ρ ≥ 0.
        spread: what the interval was computed from.
        decoys: by name.
        contrast: of every model, forget against holdout; where these are held against each other.
        silent_because: why this subject's score says nothing where it is low; None where it does.
        cannot_clear: why no score held against this null could clear; None where one could.
        words: what ρ = 0 is, where it is another thing than the null's own words say.
    """

    against: str
    null: float
    limits: Limits | None
    resolution: float | None = None
    p_value: float | None = None
    p_trace: float | None = None
    p_deficit: float | None = None
    spread: SpreadRecord | None = None
    decoys: dict[str, DecoyResult] = field(default_factory=dict)
    contrast: tuple[ContrastRow, ...] = ()
    silent_because: str | None = None
    cannot_clear: str | None = None
    words: str | None = None


# A null is a module and no instance of any class: whether one will do is asked of the names it holds.
@runtime_checkable
class Null(Protocol):
    """What models that lack the knowledge score.

    Attributes:
        KIND: its name in the results, one word.
        WORDS: what ρ = 0 is, as in "ρ = 0 is the mean of the references".
        RANK: nulls are asked from the lowest on: the most demanding question first, then the best evidence.
    """

    KIND: str
    WORDS: str
    RANK: int

    def compare(self, asked: Question) -> Comparison | None:
        """Hold the subject against it; None where the audit has nothing to make it of, or it does not answer."""


def interval(limits: Limits | None) -> Interval | None:
    """Limits as the evidence holds them."""
    # Records import nothing of inference, so the numbers are copied into a type of theirs.
    return None if limits is None else Interval(value=limits.value, low=limits.low, high=limits.high)
