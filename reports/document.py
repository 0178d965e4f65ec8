"""What the report shows, taken from results and put into words; nothing is computed or judged here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditor.plan import Plan, Role
from auditor.reports import tables, text
from auditor.reports.tables import Table
from auditor.results import Results
from auditor.scores import Evidence, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One reason of the verdict, word for word, with what its check did where it speaks of one."""

    words: str
    gloss: str = ""
    anchor: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Top:
    """The first screen: the verdict and why."""

    outcome: str
    short: str
    headline: str
    pair: tuple[tuple[str, str], ...]
    assurance: str
    assurance_meaning: str
    comparison: str
    flags: tuple[tuple[str, str], ...]
    bars: str
    reasons: tuple[Reason, ...]
    to_settle: tuple[str, ...]
    not_proven: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckSection:
    """One check.

    Attributes:
        anchor: id of its heading.
        evidence: from which its figure is drawn.
        standing: what it may do, and whether it is a primary.
        state: whether it could see anything, in one sentence.
        facts: terms with their values.
        scores: of every model; None where it could not run.
        controls: measured beside the scores; None where there are none.
    """

    anchor: str
    evidence: Evidence
    family: str
    standing: str
    state: str
    finding: str
    facts: tuple[tuple[str, str], ...]
    scores: Table | None
    controls: Table | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """The whole report, without its figures."""

    top: Top
    ordered: tuple[Evidence, ...]
    without_rho: tuple[tuple[str, str], ...]
    decoys: Table | None
    checks: tuple[CheckSection, ...]
    utility: Table | None
    coverage: Table
    models: Table
    data: Table
    plan: tuple[tuple[str, str], ...]
    thresholds: Table
    settings: Table
    prospect: tuple[str, ...]
    environment: Table
    notes: tuple[str, ...]
    command: str
    glossary: tuple[tuple[str, str], ...] = text.GLOSSARY


def build(results: Results) -> Document:
    """Everything the report shows, in its order."""
    ordered = tuple(sorted(results.evidence, key=lambda item: (not item.primary, item.check != "outputs")))
    order = ["original", "unlearned", *(model.name for model in results.plan.models)]
    return Document(
        top=_top(results, ordered),
        ordered=ordered,
        without_rho=tuple((e.check, why_no_rho(e)) for e in ordered if e.rho is None),
        decoys=tables.decoys(ordered),
        checks=tuple(_check(e, _anchor(i), order) for i, e in enumerate(ordered, 1)),
        utility=tables.utility(results.evidence),
        coverage=tables.coverage(results),
        models=tables.models(results.plan.models),
        data=tables.data(results.plan),
        plan=_plan(results),
        thresholds=tables.thresholds(results.plan),
        settings=tables.settings(results.plan),
        prospect=_prospect(results.plan),
        environment=tables.environment(results.environment),
        notes=results.plan.notes,
        command=results.plan.command,
    )


def why_no_rho(evidence: Evidence) -> str:
    """Why a check has no place in the forest plot, in words."""
    if evidence.failure is not None:
        return f"could not run: {evidence.failure.reason}"
    if evidence.conclusive:
        return evidence.conclusive
    return evidence.powerless_because or text.POWERS[evidence.may]


def _top(results: Results, ordered: Sequence[Evidence]) -> Top:
    plan, verdict = results.plan, results.verdict
    return Top(
        outcome=verdict.outcome,
        short=text.OUTCOME_NAMES[verdict.outcome],
        headline=text.headline(verdict.outcome, verdict.bound),
        pair=(
            ("original", _sources(plan, "original")),
            ("unlearned", _sources(plan, "unlearned")),
            ("request", _request(plan)),
        ),
        assurance=verdict.assurance,
        assurance_meaning=text.ASSURANCE[verdict.assurance],
        comparison=_comparison(plan),
        flags=tuple((flag, text.FLAGS[flag]) for flag in verdict.flags),
        bars=(
            f"Above {plan.policy.thresholds.suppressed:g} it counts as residue; deletion needs the whole "
            f"interval of every primary check below {plan.policy.thresholds.deleted:g}."
        ),
        reasons=tuple(_reason(words, ordered) for words in verdict.reasons),
        to_settle=verdict.to_settle,
        not_proven=text.NOT_PROVEN[verdict.outcome],
        warnings=tuple(_warnings(results, verdict)),
    )


def _reason(words: str, ordered: Sequence[Evidence]) -> Reason:
    for i, evidence in enumerate(ordered, 1):
        if words.startswith(f"{evidence.check}:"):
            return Reason(words=words, gloss=evidence.summary, anchor=_anchor(i))
    return Reason(words=words)


def _anchor(i: int) -> str:
    return f"check-{i}"


def _request(plan: Plan) -> str:
    wish = text.REQUESTS.get(plan.request, plan.request)
    named = [f"{c} “{plan.class_names[c]}”" if 0 <= c < len(plan.class_names) else str(c) for c in plan.classes]
    which = f" ({', '.join(named)}, of {plan.n_classes} classes)" if named and plan.request == "class" else ""
    return f"{wish}{which}; goal: {text.GOALS.get(plan.goal, plan.goal)}"


def _sources(plan: Plan, role: Role) -> str:
    return ", ".join(model.source or f"{model.name}, in memory" for model in plan.models_of(role)) or "–"


def _comparison(plan: Plan) -> str:
    references, decoys = len(plan.models_of("reference")), len(plan.models_of("decoy"))
    perturbed = len(plan.models_of("perturbed"))
    parts = [_plural(references, "reference")]
    if perturbed:
        parts.append(f"{perturbed} more of a perturbed recipe")
    return f"In the line-up: {', '.join([*parts, _plural(decoys, 'decoy')])}."


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _warnings(results: Results, verdict: Verdict) -> Iterator[str]:
    if not results.coverage.complete:
        missing = "; ".join(f"{item.check} gave no evidence ({item.reason})" for item in results.coverage.failed)
        yield f"Coverage is incomplete: {missing or 'some planned check gave no evidence'}."
    yield from results.plan.notes
    if not results.plan.policy.calibrated:
        yield text.UNCALIBRATED
    wanted = results.plan.expect.replace("-", "_").upper()
    if wanted != verdict.outcome:
        yield f"The audit was run expecting “{results.plan.expect}”."


def _check(evidence: Evidence, anchor: str, order: Sequence[str]) -> CheckSection:
    standing = text.POWERS[evidence.may]
    return CheckSection(
        anchor=anchor,
        evidence=evidence,
        family=text.FAMILIES[evidence.family],
        standing=f"primary check: {standing}" if evidence.primary else standing,
        state=_state(evidence),
        finding=evidence.conclusive or "",
        facts=tuple(_facts(evidence)),
        scores=tables.scores(evidence),
        controls=tables.controls(evidence.controls, order),
    )


def _state(e: Evidence) -> str:
    if e.failure is not None:
        where = f" (on {e.failure.model})" if e.failure.model else ""
        return f"Could not run{where}: {e.failure.reason}"
    if e.powered:
        return "It had the power to see a residue: fine enough a resolution, and no decoy meant for it missed."
    if e.powerless_because:
        return f"No power to clear: {e.powerless_because}."
    return ""


def _facts(e: Evidence) -> Iterator[tuple[str, str]]:
    if e.rho is not None:
        yield "ρ", text.rho(e.rho)
    if e.resolution is not None:
        yield "resolution", f"{text.number(e.resolution, 2)}, the smallest residue it can rule out"
    if e.p_value is not None:
        yield "p-value", f"{text.p_value(e.p_value)}, against ρ ≤ τ suppressed"
    if e.null_kind != "none":
        yield "ρ = 0 is", text.NULLS[e.null_kind]
    if e.failure is None:
        yield "score", e.unit
    if e.n_examples is not None:
        hits = "" if e.hits is None else f"; the unlearned model hits {e.hits}"
        yield "measured on", f"{e.n_examples} examples{hits}"
    if e.chosen:
        yield "readings", f"T is the mean of: {', '.join(e.chosen)}" if len(e.chosen) > 1 else e.chosen[0]
    if e.spread is not None:
        yield (
            "spread",
            (
                f"s̃ = {text.number(e.spread.value, 4)} at ν = {e.spread.degrees:g}, "
                f"{e.spread.n_references} references, sampling variance {e.spread.sampling_variance:.2g}, "
                f"recipe variance {e.spread.recipe_variance:.2g}, "
                f"floor {text.number(e.spread.floor, 4)}"
            ),
        )


def _plan(results: Results) -> tuple[tuple[str, str], ...]:
    plan, run = results.plan, results.plan.execution
    return (
        ("plan digest", results.plan_digest),
        ("auditor", f"version {plan.auditor_version}, results schema {results.schema_version}"),
        ("task", f"{plan.task}; {_request(plan)}"),
        ("seed", str(plan.seed)),
        ("architecture", f"{plan.architecture or '–'}, SHA-256 {plan.architecture_digest or '–'}"),
        ("layers", ", ".join(plan.layers) or "–"),
        ("preprocessing", tables.pairs(plan.preprocessing)),
        (
            "execution",
            f"{run.device}, {run.dtype}, {_plural(run.threads, 'thread')}, batch size {run.batch_size}",
        ),
    )


def _prospect(plan: Plan) -> tuple[str, ...]:
    prospect = plan.prospect
    said = ["DELETED was within reach." if prospect.deleted_in_reach else "DELETED was out of reach."]
    if prospect.smallest_residue is not None:
        said.append(f"Smallest residue that could be resolved: {text.number(prospect.smallest_residue, 2)}.")
    said += [
        f"A true retrain would pass with probability {text.number(value, 2)} at a gap of {gap}."
        for gap, value in prospect.pass_probability.items()
    ]
    return (*said, *prospect.obstacles)
