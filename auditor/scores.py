"""The types that flow from a check to the verdict and into results.json."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Family = Literal["behaviour", "privacy", "tampering", "representation", "parameters", "elicitation", "forensics"]
May = Literal["clear", "accuse", "inform"]
Row = dict[str, str | int | float | None]


class Frozen(BaseModel):
    """Base of every record: immutable, no unknown fields, no NaN or infinity in its JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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


class Score(Frozen):
    """What one check measured on one model: a pure function of model, data, settings and seed."""

    check: str
    readings: dict[str, Reading] = Field(description="candidates by name; the score T averages the chosen ones")
    hits: int | None = Field(default=None, description="successes, where T is a rate")
    n_examples: int = Field(description="examples the score was measured on")
    null: tuple[float, ...] = Field(default=(), description="draws of the check's own null on this model")
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
    floor: float = Field(description="1/n_eval")


class DecoyResult(Frozen):
    """Whether a check saw through a suppressed copy of the original made by the auditor."""

    rho: Interval | None
    p_value: float | None
    detected: bool


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
    null_kind: Literal["references", "controls", "internal", "chance", "none"] = "none"
    rho: Interval | None = None
    rho_by_references: Interval | None = Field(
        default=None, description="where control concepts are the null: ρ with the references as the null, too"
    )
    resolution: float | None = Field(default=None, description="w: the smallest residue it can rule out")
    powered: bool = Field(default=False, description="w small enough and assigned decoys detected")
    powerless_because: str | None = None
    p_value: float | None = Field(default=None, description="one-sided, against ρ ≤ τ_suppressed")
    p_trace: float | None = Field(default=None, description="one-sided, against ρ ≤ 0: no more than the null's models")
    spread: SpreadRecord | None = None
    hits: int | None = None
    n_examples: int | None = None
    decoys: dict[str, DecoyResult] = Field(default_factory=dict)
    assigned_decoys: tuple[str, ...] = Field(default=(), description="decoys it has to detect before it may clear")
    utility: Utility | None = None
    cells: list[Row] = Field(default_factory=list)
    controls: dict[str, dict[str, float]] = Field(default_factory=dict, description="by model, then by name")
    caveats: tuple[str, ...] = ()
    deviations: dict[str, str] = Field(
        default_factory=dict, description="by model: how its score was computed otherwise than planned"
    )
    conclusive: str | None = None
    failure: Failure | None = None


Outcome = Literal["NOT_FORGOTTEN", "SUPPRESSED", "DELETED", "INCONCLUSIVE"]
Flag = Literal["DAMAGED", "OVER_UNLEARNED"]
Assurance = Literal["A0", "A1", "A2", "A3"]


class Verdict(Frozen):
    """What the evidence supports."""

    outcome: Outcome
    bound: float | None = Field(default=None, description="largest upper limit of a primary's ρ, when DELETED")
    flags: tuple[Flag, ...] = ()
    assurance: Assurance
    reasons: tuple[str, ...]
    to_settle: tuple[str, ...] = Field(default=(), description="what to supply so that an audit could decide")


def rows_of(model: str, score: Score) -> list[Row]:
    """A score's cells, each led by the model's name."""
    return [{"model": model, **row} for row in score.cells]
