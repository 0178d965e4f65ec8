"""A chain of requests: what each checkpoint along it still holds of everything that was to be forgotten so far."""

from collections.abc import Iterator

from pydantic import Field

from auditor.records.base import Frozen
from auditor.records.plan import json_text
from auditor.records.ranking import Candidate

CAME_BACK = ("SUPPRESSED", "NOT_DELETED", "NOT_FORGOTTEN")
"""Outcomes that take an earlier ``DELETED`` back."""


class ChainAudit(Frozen):
    """One checkpoint held to one request that was made at it or before it."""

    request: int = Field(ge=1, description="place of the request in the chain, from 1")
    after: int = Field(ge=1, description="place of the request after which the checkpoint was made, no earlier")
    found: Candidate = Field(description="what the audit found; its name is the checkpoint's")


class Chain(Frozen):
    """Requests in the order they were made, the checkpoint after each, and the audits of both."""

    original: str
    requests: tuple[str, ...] = Field(description="the forget set of each")
    checkpoints: tuple[str, ...] = Field(description="made for each, in the same order")
    audits: tuple[ChainAudit, ...] = Field(description="by request, then by checkpoint")

    def to_json(self) -> str:
        """The bytes of chain.json as text."""
        return json_text(self)

    def of(self, request: int) -> tuple[ChainAudit, ...]:
        """The audits of one request, from its own checkpoint on."""
        return tuple(audit for audit in self.audits if audit.request == request)

    def came_back(self) -> Iterator[tuple[ChainAudit, ChainAudit]]:
        """Audits that called a request ``DELETED``, each with the first later one that found it again."""
        for number in range(1, len(self.requests) + 1):
            audits = self.of(number)
            first = next((audit for audit in audits if audit.found.outcome == "DELETED"), None)
            later = [audit for audit in audits if first is not None and audit.after > first.after]
            again = next((audit for audit in later if audit.found.outcome in CAME_BACK), None)
            if first is not None and again is not None:
                yield first, again
