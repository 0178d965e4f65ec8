"""What one check measured on one model, or why it could not."""

from typing import Literal

from pydantic import Field

from auditor.records.base import Frozen, Row

CheckRole = Literal["outputs", "weights", "evidence"]


class Sides(Frozen):
    """One number for every subject on either side of an assignment by chance: the mean over its examples."""

    forget: tuple[float, ...] = Field(
        min_length=2, description="of subjects that were trained on, then to be forgotten"
    )
    holdout: tuple[float, ...] = Field(min_length=2, description="of subjects that chance kept out of training")


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
    # By the same rule on the same model: the question is whether the forgotten one is one more of them.
    concepts: tuple[float, ...] = Field(
        default=(), description="the same number for each never-trained control concept, measured on the same model"
    )
    # By the attack half: to choose by what is then measured would pick its luck.
    choice: float | None = Field(
        default=None, description="the same statistic on the attack half, by which readings are chosen"
    )
    sides: Sides | None = Field(
        default=None, description="the same by subject, where the holdout was assigned by chance and both are measured"
    )


class CanonicalForm(Frozen):
    """The form of a model that an audit looks at; see :mod:`auditor.models.canonical_form`."""

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
    # With the values, so that the test can be repeated from scores.json alone.
    tops: tuple[int, ...] = Field(min_length=1, description="how many of the highest are looked at, ascending")
    noun: str = Field(default="examples", description="what is counted: examples, or subjects of facts")
    note: str | None = Field(default=None, description="why items were left out, in one sentence")


class Score(Frozen):
    """What one check measured on one model: a pure function of model, data, settings and seed."""

    check: str
    # All of them: which ones count takes the original and the references, and a score sees one model.
    readings: dict[str, Reading] = Field(description="candidates by name; the score T averages the chosen ones")
    hits: int | None = Field(default=None, description="successes, where T is a rate")
    n_examples: int = Field(description="examples the score was measured on")
    null: tuple[float, ...] = Field(default=(), description="draws of the check's own null on this model")
    items: Items | None = Field(default=None, description="single items, where forget and holdout are measured by item")
    chance: float | None = Field(
        default=None, description="T of a model without the knowledge, where it is known without measuring one"
    )
    retain_accuracy: float | None = Field(default=None, description="utility, where the check measures it")
    rows: list[Row] = Field(default_factory=list, description="tidy rows behind the figure; decide nothing")
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
    cannot_clear_because: str | None = Field(
        default=None, description="why its silence says nothing, in one clause; it may accuse, but not clear"
    )
    not_applicable_because: str | None = Field(
        default=None, description="why nothing follows from this score, in one clause; then the check has no say"
    )
    form: CanonicalForm | None = Field(
        default=None, description="the canonical form it was measured on, where the check is about the weights"
    )

    def total(self, chosen: tuple[str, ...]) -> float:
        """T: mean of the chosen readings' values."""
        # In the order of `chosen`, which is recorded: a reviewer's sum has the same last digits.
        return sum(self.readings[name].value for name in chosen) / len(chosen)

    def examples(self, chosen: tuple[str, ...]) -> tuple[float, ...]:
        """Per-example contributions to T; empty where some chosen reading has none."""
        return _mean_columns([self.readings[name].examples for name in chosen])

    def draws(self, chosen: tuple[str, ...]) -> tuple[float, ...]:
        """T by each of the check's own draws; empty where some chosen reading has none."""
        return _mean_columns([self.readings[name].draws for name in chosen])

    def sides(self, chosen: tuple[str, ...]) -> Sides | None:
        """T by subject on either side; None where some chosen reading has none."""
        found = [self.readings[name].sides for name in chosen]
        known = [sides for sides in found if sides is not None]
        if len(known) < len(found):
            return None
        forget, holdout = (_mean_columns([getattr(sides, side) for sides in known]) for side in ("forget", "holdout"))
        return Sides(forget=forget, holdout=holdout)

    def concepts(self, chosen: tuple[str, ...]) -> tuple[float, ...]:
        """T of each control concept on this model; empty where some chosen reading has none."""
        return _mean_columns([self.readings[name].concepts for name in chosen])


def _mean_columns(columns: list[tuple[float, ...]]) -> tuple[float, ...]:
    # A mean over those that have examples would be of other readings than T is.
    if not all(columns):
        return ()
    return tuple(sum(values) / len(values) for values in zip(*columns, strict=True))


class Failure(Frozen):
    """A check that could not run. It counts as missing coverage, never as a pass."""

    reason: str = Field(description="one sentence for a person")
    model: str | None = Field(default=None, description="the model it failed on, where it was one")
    # Stripped, since results are the same bytes in whatever folder an audit runs.
    traceback: str | None = Field(default=None, description="for a developer; paths stripped to file names")


def rows_of(model: str, score: Score) -> list[Row]:
    """A score's rows, each led by the model's name."""
    return [{"model": model, **row} for row in score.rows]
