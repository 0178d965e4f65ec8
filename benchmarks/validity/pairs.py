"""One labelled pair: what was audited, what is true of it, what the audit said, and what published metrics say."""

import json
from pathlib import Path
from typing import Any

import auditor
from auditor.records.evidence import Evidence

# Any: as JSON has it.
Row = dict[str, Any]

DECIDED = ("DELETED", "SUPPRESSED", "NOT_DELETED", "NOT_FORGOTTEN")
RIGHT = {
    "deleted": ("DELETED",),
    # NOT_DELETED is no error here: it accuses, and leaves open only what the outputs show.
    "suppressed": ("SUPPRESSED", "NOT_DELETED"),
    "not forgotten": ("NOT_FORGOTTEN", "NOT_DELETED"),
}
"""The outcomes that fit each label; a damaged model is scored by its flag."""


def row_of(about: Row, result: auditor.AuditResult, published: dict[str, float]) -> Row:
    """Everything the tables need, as JSON.

    Args:
        about: world, original, request, mechanism, label and seed; the half is known once all rows are.
        result: the audit.
        published: single metrics of the literature on the same pair, higher for more knowledge.
    """
    verdict = result.results.verdict
    return {
        **about,
        "outcome": verdict.outcome,
        "flags": list(verdict.flags),
        "bound": verdict.bound,
        "assurance": verdict.assurance,
        "reasons": list(verdict.sentences),
        "complete": result.results.coverage.complete,
        "checks": {e.check: _check(e) for e in result.results.evidence if e.scores is not None},
        "published": published,
    }


def _check(e: Evidence) -> Row:
    assert e.scores is not None, "asked before"
    return {
        "rho": e.rho.value if e.rho else None,
        "low": e.rho.low if e.rho else None,
        "high": e.rho.high if e.rho else None,
        "w": e.resolution,
        "p": e.p_value,
        "p trace": e.p_trace,
        "p deficit": e.p_deficit,
        "p items": e.items.p_value if e.items else None,
        "primary": e.primary,
        "sighted": e.sighted,
        "powered": e.powered,
        "decoys": {name: None if d.rho is None else d.rho.value for name, d in e.decoys.items()},
        "T": e.scores.unlearned,
        "T original": e.scores.original,
        # Kept, so that spreads can be fitted, and rules tried again, without a model.
        "T references": list(e.scores.references.values()),
        "s": e.spread.value if e.spread else None,
    }


def right(row: Row) -> bool:
    """Whether the audit said what is true."""
    if row["label"] == "damaged":
        return "DAMAGED" in row["flags"]
    return row["outcome"] in RIGHT[row["label"]]


def write_rows(rows: list[Row], path: Path) -> None:
    """The one file from which every table can be made again."""
    # Sorted and indented: the file is under version control, where a change of a row is to be seen as one.
    path.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_rows(path: Path) -> list[Row]:
    """The rows of :func:`write_rows`."""
    found: list[Row] = json.loads(path.read_text(encoding="utf-8"))
    return found
