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
