"""Several candidates of one original side by side: what each audit found, in an order."""

from pydantic import Field

from auditor.records.base import Frozen
from auditor.records.evidence import Interval
from auditor.records.plan import json_text
from auditor.records.verdict import Assurance, Flag, Outcome


class Candidate(Frozen):
    """One unlearned model, and what its audit found; or why it could not be audited."""

    name: str = Field(description="as given")
    folder: str | None = Field(default=None, description="of its audit, below that of the ranking; null where none ran")
    step: int | None = Field(default=None, description="of its run, where the ranking is one by steps")
    outcome: Outcome | None = None
    flags: tuple[Flag, ...] = ()
    assurance: Assurance | None = None
    complete: bool = Field(default=False, description="every planned check gave evidence")
    bound: float | None = Field(default=None, description="when DELETED: what may remain at most, on the axis of ρ")
    utility: float | None = Field(default=None, description="retain accuracy, 0 to 1")
    rho: dict[str, Interval | None] = Field(
        default_factory=dict, description="of every planned check; null where it has none"
    )
    sentence: str = Field(default="", description="what decided, in plain words")
    refused: str | None = Field(default=None, description="why it could not be audited")


class Ranking(Frozen):
    """Candidates in an order: the best first, or the checkpoints of one run by their steps."""

    original: str
    sorted_by: str = Field(description="outcome, bound, utility, step, or the name of a check, by its ρ")
    candidates: tuple[Candidate, ...]

    def to_json(self) -> str:
        """The bytes of ranking.json as text."""
        return json_text(self)

    @property
    def checks(self) -> tuple[str, ...]:
        """Names of all checks that any candidate has."""
        return tuple(dict.fromkeys(name for candidate in self.candidates for name in candidate.rho))
