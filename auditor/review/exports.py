"""Results for other places: a block for a model card, and tables for analysts."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from auditor.digests import text_digest
from auditor.records.results import Results
from auditor.records.verdict import Outcome
from auditor.reports.document import axis_of, first_screen
from auditor.reports.formats import clean, upper_percent

if TYPE_CHECKING:
    import pandas as pd

_Cell = TypeVar("_Cell")
_OUTCOMES = {
    "DELETED": "consistent with deletion",
    "SUPPRESSED": "suppressed, not deleted",
    "NOT_DELETED": "not deleted",
    "NOT_FORGOTTEN": "not forgotten",
    "INCONCLUSIVE": "inconclusive",
}
# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@")


def model_card(results: Results) -> str:
    """The block a publisher pastes into a model card, in Markdown."""
    verdict, plan = results.verdict, results.plan
    [audited] = plan.models_of("unlearned")
    bound = "none"
    if verdict.bound is not None:
        bound = (
            f"no more than {upper_percent(verdict.bound)} of the original's recoverable knowledge, by the checks listed"
        )
    rows = {
        "Verdict": f"`{verdict.outcome}` ({_OUTCOMES[verdict.outcome]})",
        "Flags": ", ".join(f"`{flag}`" for flag in verdict.flags) or "none",
        "Bound on what remains": bound,
        "Assurance": f"{verdict.assurance} ({len(plan.models_of('reference'))} references)",
        "Request": f"forget a {plan.request}, goal {plan.goal}",
        "Checks completed": ", ".join(results.coverage.completed),
        "Checks that could not run": ", ".join(item.check for item in results.coverage.failed) or "none",
        "Policy": f"{plan.policy.name} {plan.policy.version}"
        + ("" if plan.domain else ", error rates not measured on audits like this"),
        "Responsible": ", ".join(filter(None, _responsible(results))) or "not stated",
        "Audited log" if plan.answers_only else "Audited weights": f"SHA-256 `{audited.file_digest or audited.digest}`",
        **({} if results.canonical is None else {"Canonical form": f"digest `{results.canonical.digest}`"}),
        "Plan": f"SHA-256 `{results.plan_digest}`",
        "Full results": f"SHA-256 `{text_digest(results.to_json())}`",
        "Auditor": f"unlearning-auditor {plan.auditor_version}",
    }
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows.items()]
    note = "This says what these checks found at the effort they made. It is not a certificate of deletion."
    return "\n".join(["## Unlearning audit", "", "| | |", "| --- | --- |", *lines, "", note, ""])


def markdown(results: Results) -> str:
    """The audit in short, in Markdown, for the summary of a CI run or a pull request: verdict, why, ρ, what to do."""
    first = first_screen(results)
    rows = [
        f"| {_cell(row.check)}{', primary' if row.primary else ''} | {row.family} | {row.share} | {row.limits} |"
        for row in axis_of(results).rows
    ]
    flags = "".join(f" `{flag}`" for flag, _ in first.flags)
    steps = [
        f"{i}. {_line(step.words)}" + (f"\n   ```sh\n   {clean(step.command)}\n   ```" if step.command else "")
        for i, step in enumerate(first.steps, 1)
    ]
    return "\n".join(
        [
            f"## Unlearning audit: `{first.outcome}`{flags}",
            "",
            f"**{_line(first.headline)}** {_line(first.sentence)}",
            "",
            f"{_line(first.subject)} against {_line(first.original)}. {_line(' '.join(first.sure))}",
            "",
            "| check | what it looks at | recovered | between |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            "0 % is a model that never saw the forget set, 100 % the original.",
            "",
            "### What to do next",
            "",
            *steps,
            "",
        ]
    )


_COLOURS: Mapping[Outcome, str] = {
    "DELETED": "2a7a57",
    "INCONCLUSIVE": "a86a00",
    "NOT_DELETED": "9b1c1c",
    "SUPPRESSED": "9b1c1c",
    "NOT_FORGOTTEN": "9b1c1c",
}


def badge(results: Results) -> str:
    """The JSON that shields.io draws a badge from (its endpoint schema, version 1)."""
    verdict = results.verdict
    bound = "" if verdict.bound is None else f" ≤ {upper_percent(verdict.bound)}".replace("\u00a0", " ")
    # A flag, or a check that could not run, takes the green away whatever the outcome is.
    sound = not verdict.flags and results.coverage.complete
    colour = _COLOURS[verdict.outcome] if sound or verdict.outcome != "DELETED" else _COLOURS["INCONCLUSIVE"]
    said = " ".join(
        [f"{verdict.outcome}{bound}", *verdict.flags, *([] if results.coverage.complete else ["incomplete"])]
    )
    shown = {"schemaVersion": 1, "label": "unlearning audit", "message": said, "color": colour}
    return json.dumps(shown, ensure_ascii=False) + "\n"


def _line(value: str) -> str:
    """Text on one line that starts no markup of its own; commands between backticks stay."""
    return (
        clean(value)
        .replace("\\", "\\\\")
        .replace("[", "\\[")
        .replace("<", "&lt;")
        .replace("*", "\\*")
        .replace("_", "\\_")
    )


def _responsible(results: Results) -> list[str | None]:
    named = results.plan.asked.responsible
    return [named.person, named.organisation, None if named.date is None else named.date.isoformat()]


def _cell(value: str) -> str:
    """Text that cannot leave its cell; a backslash of its own would take the sting out of ours."""
    return clean(value).replace("\\", "\\\\").replace("|", "\\|").replace("[", "\\[").replace("<", "&lt;")


def evidence_frame(results: Results) -> "pd.DataFrame":
    """One row per check: what it may do, ρ with limits, resolution, p-value, power, T of the pair and the null."""
    import pandas as pd

    return pd.DataFrame([_evidence_row(results, i) for i in range(len(results.evidence))])


def _evidence_row(results: Results, i: int) -> dict[str, object]:
    e = results.evidence[i]
    rho = {} if e.rho is None else e.rho.model_dump()
    scores = {} if e.scores is None else e.scores.model_dump(include={"original", "unlearned", "null"})
    return {
        **e.model_dump(include={"check", "family", "may", "primary", "null_kind"}),
        "rho": rho.get("value"),
        "rho_low": rho.get("low"),
        "rho_high": rho.get("high"),
        **e.model_dump(include={"resolution", "p_value", "powered", "powerless_because"}),
        "score_original": scores.get("original"),
        "score_unlearned": scores.get("unlearned"),
        "score_null": scores.get("null"),
        "failure": None if e.failure is None else e.failure.reason,
    }


def rows_frame(results: Results) -> "pd.DataFrame":
    """The tidy rows behind every figure, led by the check's name; columns that a check lacks are empty."""
    import pandas as pd

    return pd.DataFrame([{"check": e.check, **row} for e in results.evidence for row in e.rows])


def csv(frame: "pd.DataFrame") -> str:
    """A table for spreadsheets: text that one would take for a formula is led by an apostrophe, and says what it said.

    The frames themselves keep their text as it is.
    """
    # The same bytes on every system.
    return frame.map(_as_text).rename(columns=_as_text).to_csv(index=False, lineterminator="\n")


def _as_text(cell: _Cell) -> _Cell | str:
    if not isinstance(cell, str):
        return cell
    shown = clean(cell)
    # A spreadsheet skips blanks before it looks for a formula.
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown
