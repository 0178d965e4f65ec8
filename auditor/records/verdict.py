"""What the evidence supports."""

from typing import Literal

from pydantic import Field

from auditor.records.base import Frozen

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

Assurance = Literal["A0", "A1", "A2", "A3d", "A3r", "A3"]


ReasonKind = Literal[
    "outputs show it",
    "outputs between thresholds",
    "outputs unknown",
    "outputs forgotten",
    "model does not work",
    "accuses",
    "finding",
    "clears",
    "highest upper limit",
    "kept items unseen",
    "too little access",
    "damaged",
    "over-unlearned",
    "references do not count",
    "too few references",
    "too few subjects",
    "no control concepts",
    "not planned",
    "could not run",
    "no power",
    "upper limit too high",
    "lower limit too low",
    "items kept",
    "holdout too small",
    "trace",
    "deficit",
    "decoy not seen through",
    "decoy not suppressed",
]
"""What a reason is, for programs; people read its sentence."""
# By kind, so that no program reads a verdict out of its sentences.
_ACCUSE = ("accuses", "finding", "outputs show it")


class Reason(Frozen):
    """One thing that decided, or that stood in the way."""

    kind: ReasonKind
    check: str | None = Field(default=None, description="the check that it is about; null where it is about none")
    sentence: str = Field(description="in words")


class Verdict(Frozen):
    """What the evidence supports."""

    outcome: Outcome
    # With DELETED alone: elsewhere a primary may lack the power that a bound rests on.
    bound: float | None = Field(
        default=None,
        description="when DELETED: largest upper limit of ρ of the primaries and of others that resolve well",
    )
    flags: tuple[Flag, ...] = ()
    assurance: Assurance
    reasons: tuple[Reason, ...]
    to_decide: tuple[str, ...] = Field(default=(), description="what to supply so that an audit could decide")

    @property
    def accusers(self) -> tuple[str, ...]:
        """Checks on which it rests that something is left."""
        return tuple(reason.check for reason in self.reasons if reason.kind in _ACCUSE and reason.check is not None)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The reasons in words."""
        return tuple(reason.sentence for reason in self.reasons)
