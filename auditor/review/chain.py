"""Writes what the audits of a chain of requests found: as a page, and as tables."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.errors import SpecError
from auditor.records.chain import Chain, ChainAudit
from auditor.review.exports import csv
from auditor.review.ranking import OVERVIEW, rho_columns
from auditor.run.store import write_together

if TYPE_CHECKING:
    import pandas as pd


def pairs(length: int) -> Iterator[tuple[int, int]]:
    """Every request with every checkpoint from its own on, as places from 1.

    >>> list(pairs(2))
    [(1, 1), (1, 2), (2, 2)]
    """
    return ((request, after) for request in range(1, length + 1) for after in range(request, length + 1))


def folder_of(request: int, after: int) -> str:
    """Of one audit, below that of the chain."""
    return f"request-{request}/after-{after}"


def refuse_short(length: int) -> None:
    """Refuse a chain of one request.

    Raises:
        SpecError: it is an audit like any other.
    """
    if length < 2:
        raise SpecError("a sequence has two requests or more; audit a single one with `audit compare`")


def chain_frame(chain: Chain) -> "pd.DataFrame":
    """One row for each audit: request, checkpoint, outcome, bound, utility, three columns of ρ for each check."""
    import pandas as pd

    return pd.DataFrame([_row(audit, chain) for audit in chain.audits])


def _row(audit: ChainAudit, chain: Chain) -> Mapping[str, object]:
    found = audit.found
    return {
        "request": audit.request,
        "forget": chain.requests[audit.request - 1],
        "after": audit.after,
        "checkpoint": found.name,
        "outcome": found.outcome,
        "flags": " ".join(found.flags),
        "complete": found.complete,
        "bound": found.bound,
        "utility": found.utility,
        **rho_columns(found, dict.fromkeys(name for one in chain.audits for name in one.found.rho)),
        "folder": found.folder,
        "refused": found.refused,
    }


def write_chain(folder: Path, chain: Chain) -> Path:
    """Write chain.json, chain.csv and overview.html; the page is returned."""
    from auditor.reports.chain import render_chain

    page = folder / OVERVIEW
    write_together(
        {
            folder / "chain.json": chain.to_json(),
            folder / "chain.csv": csv(chain_frame(chain)),
            page: render_chain(chain),
        }
    )
    return page
