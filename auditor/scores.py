"""The types that flow from a check to the verdict and into results.json."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Family = Literal["behaviour", "privacy", "tampering", "representation", "parameters", "elicitation", "forensics"]
May = Literal["clear", "accuse", "inform"]
Row = dict[str, str | int | float | None]


class Frozen(BaseModel):
    """Base of every record: immutable, no unknown fields, no NaN or infinity in its JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with changed fields, validated: pydantic's own takes misspelt fields and NaN.

        Raises:
            ValidationError: an unknown field, or a value that does not fit its field.
        """
        return type(self).model_validate({**dict(self), **(update or {})})


class Reading(Frozen):
    """One candidate for a score: the check's number at one layer or setting. Higher is more knowledge."""

    value: float = Field(description="measured on the eval half; the check's unit")
    examples: tuple[float, ...] = Field(
        default=(), description="per-example contributions whose mean is the value; empty where there are none"
    )
    draws: tuple[float, ...] = Field(
        default=(),
        description="by each of the check's own random draws, paired across models, where the value is their median",
    )
    concepts: tuple[float, ...] = Field(
        default=(), description="the same number for each never-trained control concept, measured on the same model"
    )
    choice: float | None = Field(
        default=None, description="the same statistic on the attack half, by which readings are chosen"
    )


class CanonicalForm(Frozen):
    """The form of a model that an audit looks at; see :mod:`auditor.subjects.canonical_form`."""

    digest: str = Field(description="SHA-256 of names, shapes, types and values of its weights")
    zeroed: int = Field(description="numbers set to zero because they make or read what is never active")
    disagreement: float | None = Field(
        default=None,
        description="share of predictions on retain that differ from those of the model as given; None if not measured",
    )


class Items(Frozen):
    """What one model shows of every single item, for the test whether a few were kept. Higher is more knowledge."""

    forget: tuple[float, ...] = Field(min_length=1, description="of each forget item that decided nothing before")
    holdout: tuple[float, ...] = Field(min_length=1, description="of each item never trained on")
    forget_about: tuple[str, ...] = Field(
        default=(), description="what each forget item is about, where several are about one thing; else empty"
    )
    holdout_about: tuple[str, ...] = ()
    tops: tuple[int, ...] = Field(min_length=1, description="how many of the highest are looked at, ascending")
    noun: str = Field(default="examples", description="what is counted: examples, or subjects of facts")
    note: str | None = Field(default=None, description="why items were left out, in one sentence")


class Score(Frozen):
    """What one check measured on one model: a pure function of model, data, settings and seed."""

    check: str
    readings: dict[str, Reading] = Field(description="candidates by name; the score T averages the chosen ones")
    hits: int | None = Field(default=None, description="successes, where T is a rate")
    n_examples: int = Field(description="examples the score was measured on")
    null: tuple[float, ...] = Field(default=(), description="draws of the check's own null on this model")
    items: Items | None = Field(default=None, description="single items, where forget and holdout are measured by item")
    chance: float | None = Field(
        default=None, description="T of a model without the knowledge, where it is known without measuring one"
    )
    retain_accuracy: float | None = Field(default=None, description="utility, where the check measures it")
    cells: list[Row] = Field(default_factory=list, description="tidy rows behind the figure; decide nothing")
    controls: dict[str, float] = Field(default_factory=dict, description="named control measurements")
    notes: tuple[str, ...] = Field(default=(), description="caveats that arose while scoring")
    conclusive: str | None = Field(
        default=None, description="a finding that accuses by itself, such as identical weights"
    )
    effort: str | None = Field(
        default=None, description="of an attacker, up to which the score says anything, in words: steps and examples"
    )
    deviation: str | None = Field(
        default=None, description="how it was computed otherwise than planned, and why, in one clause"
    )
    blind: str | None = Field(
        default=None, description="why its silence says nothing, in one clause; it may accuse, but not clear"
    )
    void: str | None = Field(
        default=None, description="why nothing follows from this score, in one clause; then the check has no say"
    )
    form: CanonicalForm | None = Field(
        default=None, description="the canonical form it was measured on, where the check is about the weights"
    )

    def total(self, chosen: tuple[str, ...]) -> float:
        """T: mean of the chosen readings' values."""
        return sum(self.readings[name].value for name in chosen) / len(chosen)

    def examples(self, chosen: tuple[str, ...]) -> tuple[float, ...]:
        """Per-example contributions to T; empty where some chosen reading has none."""
        return _mean_columns([self.readings[name].examples for name in chosen])

    def draws(self, chosen: tuple[str, ...]) -> tuple[float, ...]:
        """T by each of the check's own draws; empty where some chosen reading has none."""
        return _mean_columns([self.readings[name].draws for name in chosen])

    def concepts(self, chosen: tuple[str, ...]) -> tuple[float, ...]:
        """T of each control concept on this model; empty where some chosen reading has none."""
        return _mean_columns([self.readings[name].concepts for name in chosen])


def _mean_columns(columns: list[tuple[float, ...]]) -> tuple[float, ...]:
    if not all(columns):
        return ()
    return tuple(sum(values) / len(values) for values in zip(*columns, strict=True))


class Failure(Frozen):
    """A check that could not run. It counts as missing coverage, never as a pass."""

    reason: str = Field(description="one sentence for a person")
    model: str | None = Field(default=None, description="the model it failed on, where it was one")
    traceback: str | None = Field(default=None, description="for a developer; paths stripped to file names")


class Interval(Frozen):
    """ρ with its limits, each holding by itself with 95 % confidence."""

    value: float
    low: float
    high: float


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


class TopRow(Frozen):
    """Forget items among the highest of all."""

    top: int = Field(description="j: how many of the highest were looked at")
    forget: int = Field(description="forget items among them")
    p_value: float = Field(description="hypergeometric, one-sided: so many or more by chance")


class ItemTest(Frozen):
    """Whether single forget items stand out among holdout items, as kept ones would (:mod:`auditor.top_items`)."""

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
    family: Family
    may: May
    primary: bool
    summary: str = Field(description="what the check did, in one sentence")
    unit: str = Field(description="what its score is")
    scores: ModelScores | None = None
    chosen: tuple[str, ...] = ()
    effort: str | None = Field(default=None, description="the attacker's effort that the score holds for, in words")
    null_kind: Literal["references", "controls", "internal", "chance", "none"] = "none"
    rho: Interval | None = None
    rho_by_references: Interval | None = Field(
        default=None, description="where control concepts are the null: ρ with the references as the null, too"
    )
    resolution: float | None = Field(default=None, description="w: the smallest residue it can rule out")
    sighted: bool = Field(
        default=False, description="w small enough and assigned decoys detected, whatever the unlearned model scored"
    )
    powered: bool = Field(default=False, description="sighted, and nothing makes the silence of this score worthless")
    powerless_because: str | None = None
    p_value: float | None = Field(default=None, description="one-sided, against ρ ≤ τ_suppressed")
    p_trace: float | None = Field(default=None, description="one-sided, against ρ ≤ 0: no more than the null's models")
    p_deficit: float | None = Field(
        default=None, description="one-sided, against ρ ≥ 0: no less than the null's models"
    )
    spread: SpreadRecord | None = None
    hits: int | None = None
    n_examples: int | None = None
    decoys: dict[str, DecoyResult] = Field(default_factory=dict)
    assigned_decoys: tuple[str, ...] = Field(default=(), description="decoys it has to detect before it may clear")
    items: ItemTest | None = Field(default=None, description="the test of single items, where the check has one")
    utility: Utility | None = None
    cells: list[Row] = Field(default_factory=list)
    controls: dict[str, dict[str, float]] = Field(default_factory=dict, description="by model, then by name")
    caveats: tuple[str, ...] = ()
    deviations: dict[str, str] = Field(
        default_factory=dict, description="by model: how its score was computed otherwise than planned"
    )
    conclusive: str | None = None
    failure: Failure | None = None


Outcome = Literal["NOT_FORGOTTEN", "SUPPRESSED", "NOT_DELETED", "DELETED", "INCONCLUSIVE"]
EXPECTATIONS: dict[str, Outcome] = {
    "deleted": "DELETED",
    "suppressed": "SUPPRESSED",
    "not-deleted": "NOT_DELETED",
    "not-forgotten": "NOT_FORGOTTEN",
    "inconclusive": "INCONCLUSIVE",
}
"""Outcomes by the words in which a person says what to expect."""
Flag = Literal["DAMAGED", "OVER_UNLEARNED"]
Assurance = Literal["A0", "A1", "A2", "A3"]


class Verdict(Frozen):
    """What the evidence supports."""

    outcome: Outcome
    bound: float | None = Field(
        default=None,
        description="when DELETED: largest upper limit of ρ of the primaries and of others that resolve well",
    )
    flags: tuple[Flag, ...] = ()
    assurance: Assurance
    reasons: tuple[str, ...]
    accusers: tuple[str, ...] = Field(default=(), description="checks on which it rests that something is left")
    to_settle: tuple[str, ...] = Field(default=(), description="what to supply so that an audit could decide")


def rows_of(model: str, score: Score) -> list[Row]:
    """A score's cells, each led by the model's name."""
    return [{"model": model, **row} for row in score.cells]
