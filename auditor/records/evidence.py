"""One check's scores of all models, combined."""

import math
from typing import Literal

from pydantic import Field

from auditor.records.base import Frozen, Row
from auditor.records.figure import Figure
from auditor.records.score import CheckRole, Failure

Family = Literal["behaviour", "privacy", "tampering", "representation", "parameters", "elicitation", "forensics"]

May = Literal["clear", "accuse", "inform"]


class Interval(Frozen):
    """ρ with its limits, each holding by itself with 95 % confidence."""

    value: float
    low: float
    high: float

    @property
    def shown(self) -> tuple[float, float, float]:
        """Value and limits as every page, table and sentence shows them: two places, limits rounded outwards.

        A bound that is rounded up in one place and to the nearest in another would be two numbers.
        """
        # To nine places first: 0.29 * 100 has a binary tail. Adding zero turns −0.0 into 0.0.
        low, high = math.floor(round(100 * self.low, 9)), math.ceil(round(100 * self.high, 9))
        return round(self.value, 2) + 0.0, low / 100 + 0.0, high / 100 + 0.0

    def __str__(self) -> str:
        """As sentences have it.

        >>> str(Interval(value=0.914, low=0.846, high=0.9701))
        '0.91 [0.84, 0.98]'
        """
        value, low, high = self.shown
        return f"{value:.2f} [{low:.2f}, {high:.2f}]"


class ModelScores(Frozen):
    """T of every model, in the check's unit."""

    original: float
    unlearned: float
    references: dict[str, float] = Field(default_factory=dict, description="counted references, by name")
    drawn: dict[str, float] = Field(
        default_factory=dict, description="models drawn but not counted: perturbed recipes, a base, a floor"
    )
    decoys: dict[str, float] = Field(default_factory=dict)
    null: float | None = Field(default=None, description="r̄: what ρ = 0 stands for")


class SpreadRecord(Frozen):
    """What the interval was computed from, so that a reviewer can recompute it."""

    value: float = Field(description="s̃")
    degrees: float = Field(description="ν")
    n_references: int = Field(description="references, or control concepts where those are the null")
    sampling_variance: float = Field(
        description="paired variance of d from the examples, and the check's own draws, measured"
    )
    recipe_variance: float = Field(description="excess variance of references trained by a perturbed recipe")
    floor: float = Field(description="smallest believable spread: 1/n_eval, or the check's own share of Δ")


class DecoyResult(Frozen):
    """Whether a check saw through a suppressed copy of the original made by the auditor.

    Seen through is what this check would have kept from being called deleted: a trace is enough for that.
    """

    rho: Interval | None
    p_value: float | None = Field(description="one-sided, against ρ ≤ 0")
    detected: bool


class ContrastRow(Frozen):
    """One model on subjects that it may have been taught, and on those that chance kept from it."""

    model: str
    forget: float = Field(description="mean over forget subjects")
    holdout: float = Field(description="mean over holdout subjects")
    difference: float = Field(
        description="forget less holdout; with a reference, of what it does not predict of either"
    )
    slope: float | None = Field(
        default=None, description="of this model's scores on the reference's, over holdout; None without a reference"
    )


class TopRow(Frozen):
    """Forget items among the highest of all."""

    top: int = Field(description="j: how many of the highest were looked at")
    forget: int = Field(description="forget items among them")
    p_value: float = Field(description="hypergeometric, one-sided: so many or more by chance")


class ItemTest(Frozen):
    """Whether single forget items stand out among holdout items, as kept ones would."""

    noun: str = Field(description="what is counted: examples, or subjects of facts")
    n_forget: int
    n_holdout: int
    rows: tuple[TopRow, ...]
    p_value: float = Field(description="of the smallest over the rows, corrected exactly over all of them")
    smallest_visible: int | None = Field(
        description="fewest kept items that the test is sure to see where they stand above all others; null for none"
    )
    references: dict[str, float] = Field(
        default_factory=dict, description="the same p-value of each reference, against the others"
    )
    note: str | None = None


class Utility(Frozen):
    """Retain performance (accuracy, 0 to 1) by model."""

    original: float
    unlearned: float
    references: dict[str, float] = Field(default_factory=dict)


class Evidence(Frozen):
    """One check's scores combined."""

    check: str
    role: CheckRole = Field(description="`outputs` or `weights`: a part that every audit has")
    family: Family
    may: May
    primary: bool
    summary: str = Field(description="what the check did, in one sentence")
    finds: str = Field(description="what a plain sentence begins with that goes on: 77 % of what the original knew")
    unit: str = Field(description="what its score is")
    scores: ModelScores | None = None
    chosen: tuple[str, ...] = ()
    effort: str | None = Field(default=None, description="the attacker's effort that the score holds for, in words")
    # No Literal: other packages bring nulls of their own kind.
    null_kind: str = Field(
        default="none", description="references, controls, holdout, internal, chance, or that of a package"
    )
    null_words: str = Field(default="nothing to compare with", description="what ρ = 0 is")
    rho: Interval | None = None
    rho_by_references: Interval | None = Field(
        default=None, description="where control concepts are the null: ρ with the references as the null, too"
    )
    reference_rho: dict[str, float] = Field(
        default_factory=dict,
        description="where references are the null: ρ of each, held against the mean of the others",
    )
    resolution: float | None = Field(default=None, description="w: the smallest residue it can rule out")
    # Apart from `powered`: the primary is chosen by it, and the unlearned model may have no part in that choice.
    sighted: bool = Field(
        default=False, description="w small enough and assigned decoys detected, whatever the unlearned model scored"
    )
    powered: bool = Field(default=False, description="sighted, and nothing makes the silence of this score worthless")
    powerless_because: str | None = None
    # None where nothing could be asked; a 1 would claim that it was asked and nothing found.
    p_value: float | None = Field(default=None, description="one-sided, against ρ ≤ τ_suppressed")
    p_trace: float | None = Field(default=None, description="one-sided, against ρ ≤ 0: no more than the null's models")
    p_deficit: float | None = Field(
        default=None, description="one-sided, against ρ ≥ 0: no less than the null's models"
    )
    spread: SpreadRecord | None = None
    contrast: tuple[ContrastRow, ...] = Field(default=(), description="where holdout assigned by chance is the null")
    hits: int | None = None
    n_examples: int | None = None
    decoys: dict[str, DecoyResult] = Field(default_factory=dict)
    assigned_decoys: tuple[str, ...] = Field(default=(), description="decoys it has to detect before it may clear")
    items: ItemTest | None = Field(default=None, description="the test of single items, where the check has one")
    utility: Utility | None = None
    rows: list[Row] = Field(default_factory=list)
    figures: tuple[Figure, ...] = Field(default=(), description="how the rows are drawn, as the check declares it")
    controls: dict[str, dict[str, float]] = Field(default_factory=dict, description="by model, then by name")
    caveats: tuple[str, ...] = ()
    deviations: dict[str, str] = Field(
        default_factory=dict, description="by model: how its score was computed otherwise than planned"
    )
    conclusive: str | None = None
    # Evidence all the same: a check that could not run stays in its Holm family, and DELETED is not given without it.
    failure: Failure | None = None

    @property
    def shows(self) -> float:
        """ρ that the check reads of a fully suppressed copy, .01 to 1: the least over the decoys it saw through.

        1 for a check without decoys. To two places: a reviewer divides by the number that sentences name.
        """
        seen = [self.decoys[name] for name in self.assigned_decoys if name in self.decoys]
        # Of one that it missed nothing is said here: that costs the check its power.
        readings = [decoy.rho.value for decoy in seen if decoy.detected and decoy.rho is not None]
        return max(round(min([1.0, *readings]), 2), 0.01)

    @property
    def finest(self) -> float | None:
        """The resolution as a share of :attr:`shows`."""
        return None if self.resolution is None else self.resolution / self.shows

    @property
    def bound(self) -> float | None:
        """The upper limit of ρ as a share of :attr:`shows`, which is all that this check shows of what is hidden."""
        return None if self.rho is None else self.rho.high / self.shows
