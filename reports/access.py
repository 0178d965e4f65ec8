"""One row for each level of access to the unlearned model: what was found with so much, and what it rules out."""

from collections.abc import Sequence

from auditor.records.access import LEVELS, MEANING, Access, allows, from_outside
from auditor.records.evidence import Evidence
from auditor.records.results import Results
from auditor.reports import formats
from auditor.reports.tables import Row, Table


def levels(results: Results) -> Table:
    """What the checks at or below each level found. Nothing is decided here: each number is a check's own."""
    return Table(
        caption="What was found, and how much could be left, by what of the unlearned model may be used",
        columns=("access", "what may be used", "checks added", "found: ρ [interval]", "could be left"),
        rows=tuple(_row(level, results) for level in LEVELS),
        words=True,
    )


def _row(level: Access, results: Results) -> Row:
    held = results.plan.asked.audit.access
    if not allows(held, level):
        return Row(cells=(level, MEANING[level], "–", f"the audit was held to {held}", "–"))
    needed = {item.name: item.access for item in results.plan.checks}
    if results.plan.answers_only and not from_outside(level):
        return Row(cells=(level, MEANING[level], "–", "the models themselves were not at hand", "–"))
    seen = [e for e in results.evidence if allows(level, needed.get(e.check, "training"))]
    added = ", ".join(e.check for e in seen if needed.get(e.check, "training") == level)
    return Row(cells=(level, MEANING[level], added or "none", _found(seen, results), _left(level, seen, results)))


def _found(seen: Sequence[Evidence], results: Results) -> str:
    """The check that recovered most, one that accuses before all others."""
    accusing = [e for e in seen if e.check in results.verdict.accusers]
    measured = [e for e in accusing or seen if e.rho is not None and e.may != "inform"]
    if not measured:
        return f"{accusing[0].check}: a finding by itself, which accuses" if accusing else "nothing measured"
    most = max(measured, key=lambda e: e.rho.value if e.rho else 0.0)
    return f"{most.check}: {formats.rho(most.rho)}{', which accuses' if accusing else ''}"


def _left(level: Access, seen: Sequence[Evidence], results: Results) -> str:
    """The highest upper limit, where every family that has to clear has its primary among the checks."""
    if from_outside(level):
        return "no bound: seen from outside alone"
    # Beside an accusation, damage or an open question a limit says nothing of what is left (docs/verdict.md, rule 4).
    if results.verdict.bound is None:
        return f"no bound: the outcome is {results.verdict.outcome}"
    names = {e.check for e in seen}
    planned = {choice.family: choice.check for choice in results.primaries}
    families = results.plan.policy.primaries.get(results.plan.request, {})
    missing = [planned.get(family, " or ".join(among)) for family, among in families.items()]
    missing = [check for check in missing if check not in names]
    if missing or not families:
        return f"no bound without {', '.join(missing) or 'a primary check'}"
    fine = results.plan.policy.thresholds.sharp_resolution
    bounding = [e for e in seen if e.primary or _sharp(e, fine)]
    return f"at most {formats.upper_percent(max(0.0, *(e.bound for e in bounding if e.bound is not None)))}"


def _sharp(e: Evidence, fine: float) -> bool:
    """Whether a check beside the primaries resolves so well that its limit counts (docs/verdict.md, rule 4)."""
    return e.may != "inform" and e.role != "outputs" and e.resolution is not None and e.resolution <= fine
