"""``audit compare`` of several candidates: one audit each, over shared scores, and a ranking."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.errors import UnsafeInputError, UsageError

if TYPE_CHECKING:
    from auditor.records.ranking import Candidate
    from auditor.records.results import Results
    from auditor.records.spec import AuditSpec
    from auditor.run.executors.forked import Tell
    from auditor.run.preparing import Prepared

    Request = tuple[Callable[[Tell], Prepared], AuditSpec, Path]


def audit_candidates(
    names: tuple[str, ...],
    request: "Callable[[str], Request]",
    exit_code: "Callable[[Results, AuditSpec], int]",
    *,
    by: str | None,
    quiet: bool,
) -> int:
    """Audit every candidate in turn; scores of the original and its references are computed once.

    Args:
        names: of the candidates, as typed.
        request: what makes the plan of a candidate, its request, and the folder for all of them.
        exit_code: of one audit.
        by: what the ranking is sorted by.
        quiet: print verdicts and ranking alone.

    Returns:
        1 where any candidate came out otherwise than expected, else the code of one that could not be audited, else 3.

    Raises:
        SpecError: a candidate is given twice, or the ranking cannot be sorted so.
    """
    from auditor.cli import show
    from auditor.review.ranking import folders, ranked, refuse_twice, refuse_unknown_order, write_ranking

    refuse_twice(names)
    refuse_unknown_order(by or "outcome", names)
    below, codes = folders(names), set[int]()
    found: list[Candidate] = []
    for name in names:
        prepared, spec, top = request(name)
        one, code = audited_candidate(prepared, spec, (name, below[name], top / below[name]), exit_code, quiet=quiet)
        found.append(one)
        codes.add(code)
    ranking = ranked(spec.models.original or "", found, by or "outcome")
    show.ranking(ranking, write_ranking(top, ranking))
    return code_of_all(codes)


def code_of_all(codes: set[int]) -> int:
    """The exit code of several audits, from theirs."""
    # What was decided weighs more than what could not be read, and that more than what is open.
    return next((code for code in (1, 4, 2, 3) if code in codes), 0)


def audited_candidate(
    prepared: "Callable[[Tell], Prepared]",
    spec: "AuditSpec",
    where: tuple[str, str, Path],
    exit_code: "Callable[[Results, AuditSpec], int]",
    *,
    quiet: bool,
) -> "tuple[Candidate, int]":
    """Audit one candidate, and say its outcome in a line.

    Args:
        prepared: makes its plan.
        spec: its request.
        where: its name, the folder of its audit below that of all, and that folder.
        exit_code: of one audit.
        quiet: print the outcome alone.

    Returns:
        What was found, or why it could not be audited; and the exit code of this audit.
    """
    from auditor.cli import show
    from auditor.cli.supervised import audited
    from auditor.records.ranking import Candidate
    from auditor.review.ranking import candidate

    name, below, folder = where
    click.echo(f"{name}: ", nl=False)
    try:
        results = audited(prepared, spec.audit.time_limit, folder, quiet)
    # One file that is no checkpoint must not cost the audits of all others.
    except (UsageError, UnsafeInputError) as error:
        click.echo("could not be audited")
        return Candidate(name=name, refused=str(error)), error.exit_code
    # In one line each: the ranking and the reports hold the rest.
    show.results(results, folder, quiet=True)
    return candidate(name, below, results), exit_code(results, spec)
