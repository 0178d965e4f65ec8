"""The tables of the report: cells are words already, numbers set with their decimals."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from auditor.records.evidence import DecoyResult, Evidence, ModelScores, Utility
from auditor.records.plan import Plan
from auditor.records.results import Environment, Results
from auditor.reports import formats, text

Mark = Literal["bold", "bad", "quiet"]
MOST_CONTROL_COLUMNS = 6  # with more of them, models become the columns


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        cells: the first is the row's header.
        role: part played by the model it is about, for its colour; empty where there is none.
        marks: how each cell after the first is to be set; empty where none stands out.
    """

    cells: tuple[str, ...]
    role: str = ""
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table with a header row; the first column holds row headers.

    Attributes:
        caption: what it shows.
        columns: header of each column.
        rows: as many cells each as there are columns.
        words: whether cells after the first are words, set flush left, and not numbers.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    words: bool = False


def decoys(ordered: Sequence[Evidence]) -> Table | None:
    """What each check made of each decoy; None where none was tried."""
    tested = [e for e in ordered if e.decoys]
    names = tuple(dict.fromkeys(name for e in tested for name in e.decoys))
    if not names:
        return None
    return Table(
        caption="Suppressed copies of the original, and which check saw through which",
        columns=("check", *names),
        rows=(*(_decoy_row(e, names) for e in tested), _seen_by_primaries(tested, names)),
        words=True,
    )


def _decoy_row(e: Evidence, names: Sequence[str]) -> Row:
    found = [_decoy(e.decoys.get(name), assigned=name in e.assigned_decoys, primary=e.primary) for name in names]
    check = f"{e.check} (primary)" if e.primary else e.check
    return Row(cells=(check, *(words for words, _ in found)), marks=tuple(mark for _, mark in found))


def _decoy(result: DecoyResult | None, *, assigned: bool, primary: bool) -> tuple[str, Mark]:
    if result is None:
        # A check that did not meet its decoy has not shown that it sees through it.
        return "not tried", "quiet" if not assigned else "bad" if primary else "bold"
    rho = f"ρ\u00a0=\u00a0{formats.rho(result.rho)}" if result.rho is not None else "no\u00a0ρ"
    if assigned:
        # Red only where it decides: a check that is no primary clears nothing, whatever it misses.
        return (f"detected, {rho}", "bold") if result.detected else (f"MISSED, {rho}", "bad" if primary else "bold")
    # Grey: it neither helps nor hurts this check. `outputs`, for one, is what decoys are made to deceive.
    return f"{'seen too' if result.detected else 'not its task'}, {rho}", "quiet"


def _seen_by_primaries(tested: Sequence[Evidence], names: Sequence[str]) -> Row:
    """Each decoy has to be detected by some primary check, whether it was assigned to it or not."""
    seen = [
        ", ".join(e.check for e in tested if e.primary and name in e.decoys and e.decoys[name].detected)
        for name in names
    ]
    return Row(
        # NONE forbids a deletion, so it must not look like an empty cell.
        cells=("seen by a primary check", *(checks or "NONE" for checks in seen)),
        marks=tuple("bold" if checks else "bad" for checks in seen),
    )


def scores(e: Evidence) -> Table | None:
    """T of every model, with ρ where there is one; None where the check could not run."""
    if e.scores is None:
        return None
    if e.contrast:
        return _contrast(e)
    return Table(
        caption=f"Scores: {e.unit}",
        columns=("model", "score T", "ρ [interval]") if e.rho else ("model", "score T"),
        rows=tuple(_score_rows(e, e.scores)),
    )


def _contrast(e: Evidence) -> Table:
    """Where chance held subjects out: every model's mean over either side, and what ρ is made from."""
    assert e.scores is not None, "asked before"
    roles = {name: "reference" for name in e.scores.references} | {name: "decoy" for name in e.scores.decoys}
    known = {"original": "1 by definition", "unlearned": formats.rho(e.rho)}
    known |= {name: formats.rho(found.rho) for name, found in e.decoys.items() if found.rho is not None}
    return Table(
        caption=f"Forget and holdout subjects of every model: {e.unit}",
        columns=("model", "forget", "holdout", "difference", "ρ [interval]"),
        rows=tuple(
            Row(
                cells=(
                    row.model,
                    *(formats.number(value, 4) for value in (row.forget, row.holdout, row.difference)),
                    known.get(row.model, ""),
                ),
                role=roles.get(row.model, row.model if row.model in text.ROLES else "drawn"),
            )
            for row in e.contrast
        ),
    )


def _score_rows(e: Evidence, scores: ModelScores) -> Iterator[Row]:
    def row(name: str, role: str, value: float, rho: str = "") -> Row:
        part = text.ROLES[role]
        # A stranger's file name need not say which part the model plays.
        named = name if part in name else f"{name} ({part})"
        return Row(cells=(named, formats.number(value, 4), *((rho,) if e.rho else ())), role=role)

    # The original and the null span the scale of ρ, so that they have no interval of their own.
    yield row("original", "original", scores.original, "1 by definition")
    yield row("unlearned", "unlearned", scores.unlearned, formats.rho(e.rho))
    if scores.null is not None:
        yield row(f"null: {e.null_words}", "null", scores.null, "0 by definition")
    for name, value in scores.references.items():
        yield row(name, "reference", value)
    for name, value in scores.drawn.items():
        yield row(name, "drawn", value)
    for name, value in scores.decoys.items():
        found = e.decoys.get(name)
        yield row(name, "decoy", value, formats.rho(found.rho) if found and found.rho else "")


def controls(measured: Mapping[str, Mapping[str, float]], order: Sequence[str]) -> Table | None:
    """What was measured beside the scores, by model in ``order``; None where nothing was."""
    names = tuple(dict.fromkeys(name for values in measured.values() for name in values))
    if not names:
        return None
    models = sorted(measured, key=lambda model: _rank(model, order))
    caption = "Controls: measured beside the scores, on the same models"

    def cell(model: str, name: str) -> str:
        return formats.number(measured[model].get(name), 4)

    if len(names) > MOST_CONTROL_COLUMNS:
        rows = tuple(Row(cells=(name, *(cell(model, name) for model in models))) for name in names)
        return Table(caption=caption, columns=("control", *models), rows=rows)
    rows = tuple(Row(cells=(model, *(cell(model, name) for name in names))) for model in models)
    return Table(caption=caption, columns=("model", *names), rows=rows)


def _rank(model: str, order: Sequence[str]) -> tuple[int, str]:
    return (order.index(model) if model in order else len(order), model)


def utility(evidence: Iterable[Evidence]) -> Table | None:
    """Retain accuracy; None where no check measured it."""
    # Retain accuracy is measured by one check and belongs to the model, not to that check.
    found = next((e.utility for e in evidence if e.utility is not None), None)
    if found is None:
        return None
    return Table(
        caption="Accuracy on what should be kept: on retain_test where it is given, else on retain",
        columns=("model", "retain accuracy"),
        rows=tuple(Row(cells=(name, formats.share(value)), role=role) for name, role, value in _utility_rows(found)),
    )


def _utility_rows(found: Utility) -> Iterator[tuple[str, str, float]]:
    yield "original", "original", found.original
    yield "unlearned", "unlearned", found.unlearned
    for name, value in found.references.items():
        yield name, "reference", value


def coverage(results: Results) -> Table:
    """Planned checks with what became of them, then those that were not planned."""
    found = results.coverage
    failed = {item.check: item.reason for item in found.failed}
    rows = [(name, "completed", "") for name in found.planned if name in found.completed]
    rows += [(name, "could not run", reason) for name, reason in failed.items()]
    # A planned check that left neither evidence nor failure must not be taken for passed.
    silent = (name for name in found.planned if name not in found.completed and name not in failed)
    rows += [(name, "no evidence", "planned, and nothing came of it") for name in silent]
    rows += [(item.check, "not planned", item.reason) for item in found.not_planned]
    return Table(
        caption="What was looked at and what was not",
        columns=("check", "state", "reason"),
        rows=tuple(Row(cells=cells) for cells in rows),
        words=True,
    )


def models(plan: Plan) -> Table:
    """The line-up with its digests."""
    held = "logged numbers" if plan.answers_only else "weights"
    return Table(
        # Both: a file's digest is recomputed by any tool, that of the weights outlives a change of file format.
        caption=f"Models, with SHA-256 of the file and of the {held} themselves",
        columns=("model", "role", "file", "SHA-256 of the file", f"SHA-256 of the {held}"),
        rows=tuple(
            Row(cells=(m.name, m.role, m.source or "in memory", m.file_digest or "–", m.digest), role=m.role)
            for m in plan.models
        ),
        words=True,
    )


def data(plan: Plan) -> Table:
    """The example sets with their digests."""
    elsewhere = "in the logs" if plan.answers_only else "in memory"
    return Table(
        caption="Data sets, with SHA-256 of their content",
        columns=("set", "source", "examples", "SHA-256"),
        rows=tuple(Row(cells=(d.name, d.source or elsewhere, str(d.n_examples), d.digest)) for d in plan.data),
        words=True,
    )


def pairs(values: Mapping[str, object]) -> str:
    """Named values on one line."""
    return formats.prose("; ".join(f"{name} = {value}" for name, value in values.items())) or "none"


def thresholds(plan: Plan) -> Table:
    """The policy."""
    policy = plan.policy
    bars: list[tuple[str, float, str]] = [
        (name, getattr(policy.thresholds, name), field.description or "")
        # Read off the policy's own fields, so that no threshold can be missing from the report.
        for name, field in type(policy.thresholds).model_fields.items()
    ]
    bars += [
        (
            "alpha, primaries",
            policy.alpha.primaries,
            "family-wise error of accusing, and of a trace, primaries",
        ),
        ("alpha, others", policy.alpha.others, "the same, over all other checks"),
        ("alpha, deficit", policy.alpha.deficit, "family-wise error of less than nothing, primaries"),
    ]
    state = (
        "error rates measured on audits like this" if plan.domain else "error rates not measured on audits like this"
    )
    return Table(
        caption=f"Policy {policy.name}, version {policy.version}, {state}; in units of ρ if not said otherwise",
        columns=("threshold", "value", "meaning"),
        rows=tuple(Row(cells=(name, f"{value:g}", meaning)) for name, value, meaning in bars),
        words=True,
    )


def settings(plan: Plan) -> Table:
    """Every check as planned."""
    return Table(
        caption="Checks as planned",
        columns=("check", "may", "primary for", "seed", "settings"),
        rows=tuple(
            Row(cells=(c.name, c.may, c.primary_for or "–", str(c.seed), pairs(c.settings))) for c in plan.checks
        ),
        words=True,
    )


def environment(found: Environment) -> Table:
    """Versions."""
    rows = [
        ("Python", found.python),
        ("platform", found.platform),
        ("instruction set", found.cpu_capability),
        ("BLAS", found.blas),
        ("GPU", found.gpu or "none"),
        *found.packages.items(),
    ]
    return Table(
        caption="What the numbers depend on beside the plan",
        columns=("part", "version"),
        rows=tuple(Row(cells=row) for row in rows),
        words=True,
    )
