"""Two audits side by side, for a person at a terminal."""

from collections.abc import Iterator

from auditor.cli.terminal import Terminal
from auditor.records.evidence import Evidence
from auditor.records.results import Results
from auditor.records.verdict import Verdict
from auditor.reports import formats
from auditor.review.plan_diff import plan_changes


def show(first: Results, second: Results) -> None:
    """Verdicts, ρ of every check, and the plans' differences."""
    console = Terminal()
    verdicts = _verdict(first.verdict), _verdict(second.verdict)
    console.say(f"verdict: {verdicts[0]}" + ("" if verdicts[0] == verdicts[1] else f" -> {verdicts[1]}"), style="bold")
    console.table(("check", "ρ, first", "ρ, second", "change"), _rows(first, second))
    changes = plan_changes(first.plan, second.plan)
    console.say("the plans differ in:" if changes else "the plans are the same")
    for change in changes:
        console.say(f"  {change}")


def _verdict(verdict: Verdict) -> str:
    flags = f" [{', '.join(verdict.flags)}]" if verdict.flags else ""
    bound = f", at most {formats.upper_percent(verdict.bound)} remains" if verdict.bound is not None else ""
    return f"{verdict.outcome}{flags} (assurance {verdict.assurance}{bound})"


def _rows(first: Results, second: Results) -> Iterator[tuple[str, ...]]:
    for check in dict.fromkeys(e.check for e in (*first.evidence, *second.evidence)):
        yield check, *_row(first.of(check), second.of(check))


def _row(one: Evidence | None, other: Evidence | None) -> tuple[str, str, str]:
    change = ""
    if one is not None and other is not None and one.rho is not None and other.rho is not None:
        # Adding zero turns the -0.0 that rounding leaves behind into 0.0.
        change = f"{round(other.rho.value - one.rho.value, 2) + 0.0:+.2f}"
    return _rho(one), _rho(other), change


def _rho(e: Evidence | None) -> str:
    if e is None:
        return "not planned"
    if e.failure is not None:
        return "could not run"
    return "no ρ" if e.rho is None else formats.rho(e.rho)
