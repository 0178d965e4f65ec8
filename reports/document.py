"""What the report shows, taken from results and put into words; nothing is computed or judged here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from auditor.records import verdict as verdicts
from auditor.records.evidence import Evidence, SpreadRecord
from auditor.records.plan import Plan, PlannedAssignment, PlannedModel, Role
from auditor.records.results import PrimaryChoice, Results
from auditor.records.road import Road
from auditor.records.verdict import Verdict
from auditor.reports import review, roads, tables, text
from auditor.reports.review import Review
from auditor.reports.tables import Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One reason of the verdict, in its own words, with what its check did where it speaks of one."""

    words: str
    gloss: str = ""
    anchor: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Top:
    """The first screen: the verdict and why."""

    outcome: str
    short: str
    headline: str
    subject: str
    original: str
    pair: tuple[tuple[str, str], ...]
    assurance: str
    assurance_meaning: str
    comparison: str
    flags: tuple[tuple[str, str], ...]
    about_rho: str
    bars: str
    how_to_read: str
    reasons: tuple[Reason, ...]
    to_decide: tuple[str, ...]
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
    accusing: frozenset[str]
    without_rho: tuple[tuple[str, str], ...]
    decoys: Table | None
    decoys_made: tuple[tuple[str, str], ...]
    checks: tuple[CheckSection, ...]
    utility: Table | None
    coverage: Table
    models: Table
    data: Table
    plan: tuple[tuple[str, str], ...]
    thresholds: Table
    settings: Table
    feasibility: tuple[str, ...]
    environment: Table
    notes: tuple[str, ...]
    command: str
    review: Review
    glossary: tuple[tuple[str, str], ...] = text.GLOSSARY


def build(results: Results) -> Document:
    """Everything the report shows, in its order."""
    # Primaries first: a deletion rests on them, and a page that is full leaves out the figures of the last sections.
    ordered = tuple(sorted(results.evidence, key=lambda item: (not item.primary, item.role != "outputs")))
    # Controls come by name from the file; the page has the pair first, as everywhere else.
    order = ["original", "unlearned", *(model.name for model in results.plan.models)]
    return Document(
        top=_top(results, ordered),
        ordered=ordered,
        accusing=frozenset(results.verdict.accusers),
        without_rho=tuple((e.check, why_no_rho(e)) for e in ordered if e.rho is None),
        decoys=tables.decoys(ordered),
        decoys_made=_decoys_made(results),
        checks=tuple(_check(e, _anchor(i), order, results) for i, e in enumerate(ordered, 1)),
        utility=tables.utility(results.evidence),
        coverage=tables.coverage(results),
        models=tables.models(results.plan.models),
        data=tables.data(results.plan),
        plan=_plan(results),
        thresholds=tables.thresholds(results.plan),
        settings=tables.settings(results.plan),
        feasibility=_prospect(results.plan, results.roads),
        environment=tables.environment(results.environment),
        notes=tuple(map(text.prose, results.plan.notes)),
        command=results.plan.command,
        review=review.build(results, frozenset(results.verdict.accusers)),
    )


def _decoys_made(results: Results) -> tuple[tuple[str, str], ...]:
    """Name, and how it was made, of each decoy; at which strength, where the outputs tell."""
    outputs = results.outputs
    controls = outputs.controls if outputs is not None else {}
    return tuple(
        (m.name, "; ".join(filter(None, (text.DECOYS.get(m.name), _strength(m, controls.get(m.name, {}))))))
        for m in results.plan.models_of("decoy")
    )


def _strength(decoy: PlannedModel, measured: Mapping[str, float]) -> str | None:
    if "strength" not in measured:
        return None
    # Controls hold floats only; strengths count from 1.
    number = int(measured["strength"])
    words = f"taken at strength {number} of {len(decoy.strengths)} ({decoy.strengths[number - 1]})"
    return words if measured["suppressed"] else f"{words}, and at none were its outputs suppressed"


def why_no_rho(evidence: Evidence) -> str:
    """Why a check has no place in the forest plot, in words."""
    # A check that did not run has nothing else to say; and a conclusive finding, such as unchanged weights, needs no ρ.
    if evidence.failure is not None:
        return f"could not run: {evidence.failure.reason}"
    if evidence.conclusive:
        return evidence.conclusive
    return text.prose(evidence.powerless_because or text.POWERS[evidence.may])


def _top(results: Results, ordered: Sequence[Evidence]) -> Top:
    plan, verdict = results.plan, results.verdict
    return Top(
        outcome=verdict.outcome,
        short=text.OUTCOME_NAMES[verdict.outcome],
        headline=text.headline(verdict.outcome, verdict.bound),
        subject=_sources(plan, "unlearned"),
        original=_sources(plan, "original"),
        pair=(
            ("original", _identified(plan, "original")),
            ("unlearned", _identified(plan, "unlearned")),
            *(("canonical form", words) for words in text.deploy(results.canonical, results.verdict.outcome)),
            ("request", _request(plan)),
            *(("forget set", f"{d.n_examples} examples") for d in plan.data if d.name == "forget"),
        ),
        assurance=verdict.assurance,
        assurance_meaning=text.ASSURANCE[verdict.assurance],
        comparison=_comparison(plan),
        flags=tuple((flag, text.FLAGS[flag]) for flag in verdict.flags),
        about_rho=text.ABOUT_RHO.format(null=text.NULLS[_assigned(plan)]),
        bars=text.BARS.format(suppressed=plan.policy.thresholds.suppressed, deleted=plan.policy.thresholds.deleted),
        how_to_read=text.how_to_read(verdict.outcome, verdict.bound),
        reasons=tuple(_reason(reason, ordered) for reason in verdict.reasons),
        to_decide=tuple(map(text.prose, verdict.to_decide)),
        not_proven=_not_proven(plan, verdict),
        warnings=tuple(_warnings(results, verdict)),
    )


def _assigned(plan: Plan) -> str:
    return "no" if plan.assignment is None else plan.assignment.kind


def _not_proven(plan: Plan, verdict: Verdict) -> tuple[str, ...]:
    found = text.NOT_PROVEN[verdict.outcome]
    if plan.assignment is None or verdict.outcome == "INCONCLUSIVE":
        return found
    # Said of the references elsewhere, which are not what this verdict rests on.
    own = text.ASSIGNED_NOT_PROVEN
    if not plan.assignment.by_chance:
        own = text.DECLARED_NOT_PROVEN.format(declared_by=plan.assignment.declared_by)
    return (*(words for words in found if "references" not in words), text.prose(own))


def _reason(reason: verdicts.Reason, ordered: Sequence[Evidence]) -> Reason:
    words = text.prose(reason.sentence)
    # Counted as in build, so that the link reaches the section of that check.
    for i, evidence in enumerate(ordered, 1):
        if evidence.check == reason.check:
            return Reason(words=words, gloss=evidence.summary, anchor=_anchor(i))
    return Reason(words=words)


def _anchor(i: int) -> str:
    return f"check-{i}"


def _request(plan: Plan) -> str:
    wish = text.REQUESTS.get(plan.request, plan.request)
    # A stranger's file may name a class that it gives no name for.
    named = [f"{c} “{plan.class_names[c]}”" if 0 <= c < len(plan.class_names) else str(c) for c in plan.classes]
    which = f" ({', '.join(named)}, of {plan.n_classes} classes)" if named and plan.request == "class" else ""
    return f"{wish}{which}; goal: {text.GOALS.get(plan.goal, plan.goal)}"


def _sources(plan: Plan, role: Role) -> str:
    return ", ".join(model.source or f"{model.name}, in memory" for model in plan.models_of(role)) or "–"


def _identified(plan: Plan, role: Role) -> str:
    """Sources with the beginning of their digests, which stand in full further down."""
    # The file's digest is the one that a reader can recompute with any tool; a model in memory has that of its weights.
    digests = ", ".join(f"{(model.file_digest or model.digest)[:12]}…" for model in plan.models_of(role))
    return f"{_sources(plan, role)}, SHA-256 {digests}" if digests else "–"


def _comparison(plan: Plan) -> str:
    references, decoys = len(plan.models_of("reference")), len(plan.models_of("decoy"))
    # Counted apart: models of a perturbed recipe widen the interval and are never pooled with the references.
    perturbed = len(plan.models_of("perturbed"))
    parts = [_plural(references, "reference")]
    if neither := len(plan.models_of("neither")):
        parts.append(f"{_plural(neither, 'model')} that saw neither forget nor holdout")
    if plan.assignment is not None:
        parts.append(_divided(plan.assignment))
    if perturbed:
        parts.append(f"{perturbed} more of a perturbed recipe")
    line_up = f"In the line-up: {', '.join([*parts, _plural(decoys, 'decoy')])}."
    return f"{line_up} {text.ABOUT_DECOYS}" if decoys else line_up


def _divided(divided: PlannedAssignment) -> str:
    subjects = f"{divided.n_forget} forget and {divided.n_holdout} holdout subjects"
    if not divided.by_chance:
        return f"{subjects}, which {text.prose(divided.declared_by or '')} declares alike and nobody drew"
    proof = "by the word of whoever asked" if divided.commitment is None else f"committed as {divided.commitment[:12]}…"
    return f"{subjects} divided by chance, {proof}"


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _warnings(results: Results, verdict: Verdict) -> Iterator[str]:
    if not results.coverage.complete:
        # Missing is never a pass: it stands on the first screen.
        missing = "; ".join(f"{item.check} gave no evidence ({item.reason})" for item in results.coverage.failed)
        yield f"Coverage is incomplete: {missing or 'some planned check gave no evidence'}."
    if results.canonical is not None and (words := text.disagreement(results.canonical)) is not None:
        yield text.prose(f"{words[0].upper()}{words[1:]}.")
    for e in results.evidence:
        yield from (text.prose(f"Not as planned: {e.check} on {m} {words}.") for m, words in e.deviations.items())
    # Error rates hold inside their domain only; quoted outside they would vouch for what nobody has measured.
    if results.plan.domain is None:
        yield text.uncalibrated(results.plan.policy)
    else:
        yield from text.measured(results.plan.domain, results.plan.policy)
    # Files and commands write not-forgotten, verdicts NOT_FORGOTTEN.
    wanted = results.plan.expect.replace("-", "_").upper()
    if wanted != verdict.outcome:
        yield f"The audit was run expecting “{results.plan.expect}”."


def _check(evidence: Evidence, anchor: str, order: Sequence[str], results: Results) -> CheckSection:
    standing = text.POWERS[evidence.may]
    return CheckSection(
        anchor=anchor,
        evidence=evidence,
        family=text.FAMILIES[evidence.family],
        standing=f"primary check: {standing}" if evidence.primary else standing,
        state=_state(evidence, results),
        finding=evidence.conclusive or "",
        facts=tuple(_facts(evidence, results.plan.policy.thresholds.suppressed)),
        scores=tables.scores(evidence),
        controls=tables.controls(evidence.controls, order),
    )


def _state(e: Evidence, results: Results) -> str:
    if e.failure is not None:
        where = f" (on {e.failure.model})" if e.failure.model else ""
        return text.prose(f"Could not run{where}: {e.failure.reason}")
    return " ".join(sentence for sentence in (_part_in_verdict(e, results), _power(e)) if sentence)


def _part_in_verdict(e: Evidence, results: Results) -> str:
    """What the verdict made of it, read off the verdict's own reasons."""
    # Nothing is decided again here: a page that judges by itself could contradict the verdict above it.
    bars, outcome = results.plan.policy.thresholds, results.verdict.outcome
    if e.check in results.verdict.accusers:
        if outcome == "NOT_FORGOTTEN":
            return "It accuses: the outputs still show the knowledge."
        if e.conclusive:
            return "It accuses by its finding alone."
        return f"It accuses: ρ exceeds {bars.suppressed:g} by more than chance, corrected for the number of checks."
    if outcome == "DELETED" and e.primary:
        return f"It clears: its whole interval lies between −{bars.over:g} and {bars.deleted:g}."
    # Readers take an interval above the threshold for an accusation; where p-values support none, the page says so.
    above = e.rho is not None and e.rho.low > bars.suppressed
    if outcome in ("SUPPRESSED", "NOT_DELETED") and above and e.may != "inform" and e.role != "outputs":
        return (
            f"Its interval lies above {bars.suppressed:g}, yet it does not accuse: that takes a p-value that stays "
            "small when corrected for the number of checks, and a model that is not damaged."
        )
    return ""


def _power(e: Evidence) -> str:
    if e.powerless_because:
        return text.prose(f"No power to clear: {e.powerless_because}.")
    if not e.powered:
        return ""
    # Power alone would read as permission to clear, which these checks do not have.
    if e.may != "clear":
        return "Its resolution is fine enough for what it looks for; it may accuse, but its silence clears nothing."
    assigned = ", ".join(e.assigned_decoys)
    decoys = f"it detected what decoys are assigned to it ({assigned})" if assigned else "no decoy is assigned to it"
    return f"It had the power to see a residue where it looks: its resolution is fine enough, and {decoys}."


def _facts(e: Evidence, suppressed: float) -> Iterator[tuple[str, str]]:
    if e.rho is not None:
        yield "ρ", text.rho(e.rho)
    if e.resolution is not None:
        yield "resolution", f"{text.number(e.resolution, 2)}, the smallest residue it can rule out"
    if e.p_value is not None:
        shown = text.p_value(e.p_value)
        yield "p-value", f"{shown}: how often a residue of {suppressed:g} would score this high by chance"
    # What ρ = 0 stands for differs between checks; the same ρ means less against a weaker null.
    if e.null_kind != "none":
        yield "ρ = 0 is", e.null_words
    if e.failure is None:
        yield "score T", e.unit
    if e.chosen:
        yield "taken as", f"the mean of {', '.join(e.chosen)}" if len(e.chosen) > 1 else e.chosen[0]
    if e.n_examples is not None:
        hits = "" if e.hits is None else f"; the unlearned model hits {e.hits}"
        yield "measured on", f"{_plural(e.n_examples, 'example')}{hits}"
    if e.items is not None:
        yield "single items", text.single_items(e.items)
    if e.spread is not None:
        yield _spread(e, e.spread)


def _spread(e: Evidence, spread: SpreadRecord) -> tuple[str, str]:
    """All that the interval was computed from, so that a reviewer can recompute it."""
    if e.contrast:
        n = spread.n_references
        help_of = f"{_plural(n, 'reference')} to say how hard each subject is, " if n else ""
        return (
            "standard error",
            f"{text.number(spread.value, 4)} of the difference between forget and holdout subjects (Welch, "
            f"{spread.degrees:.1f} degrees of freedom, {help_of}"
            f"floor {text.number(spread.floor, 4)})",
        )
    null = "control concept" if e.null_kind == "controls" else "reference"
    return (
        "spread",
        (
            f"s̃ = {text.number(spread.value, 4)}: by how much one more {null} may differ by chance "
            f"(ν = {spread.degrees:g} degrees of freedom from {_plural(spread.n_references, null)}; "
            f"sampling variance {_variance(spread.sampling_variance)}, "
            f"recipe variance {_variance(spread.recipe_variance)}, "
            f"floor {text.number(spread.floor, 4)})"
        ),
    )


def _variance(value: float) -> str:
    # An exact 0 says that this source was not added; 0.000000 would look like a small one that was rounded.
    return text.number(value, 6) if value else "0"


def _plan(results: Results) -> tuple[tuple[str, str], ...]:
    plan, run = results.plan, results.plan.execution
    return (
        ("plan digest", results.plan_digest),
        *(
            ("canonical form", f"{words} {text.ABOUT_FORM}")
            for words in text.deploy(results.canonical, results.verdict.outcome)
        ),
        ("auditor", f"version {plan.auditor_version}, results schema {results.schema_version}"),
        ("task", f"{plan.task}; {_request(plan)}"),
        *((f"primary, {choice.family}", _chosen(choice)) for choice in results.primaries),
        ("seed", str(plan.seed)),
        ("architecture", f"{plan.architecture or '–'}, SHA-256 {plan.architecture_digest or '–'}"),
        ("layers", ", ".join(plan.layers) or "–"),
        ("preprocessing", tables.pairs(plan.preprocessing)),
        (
            "execution",
            f"{run.device}, {run.dtype}, {_plural(run.threads, 'thread')}, batch size {run.batch_size}",
        ),
    )


def _chosen(choice: PrimaryChoice) -> str:
    """The primary of a family and what else stood to choice; fixed without a look at the unlearned model."""
    # The unchosen candidates too: a reviewer can see that the narrowest won, and that nothing else decided.
    shown = [f"{name} resolves {text.number(w, 2)}" for name, w in choice.resolutions.items()]
    return f"{choice.check} ({'; '.join(shown)})"


def _prospect(plan: Plan, open_roads: Sequence[Road]) -> tuple[str, ...]:
    feasibility = plan.feasibility
    said = ["DELETED was within reach." if feasibility.deleted_in_reach else "DELETED was out of reach."]
    if feasibility.smallest_residue is not None:
        said.append(f"Smallest residue that could be resolved: {text.number(feasibility.smallest_residue, 2)}.")
    said += [
        f"A true retrain would pass with probability {text.number(value, 2)} at a gap of {gap}."
        for gap, value in feasibility.pass_probability.items()
    ]
    if plan.assignment is not None:
        # What was measured on the original takes the place of what had to be assumed.
        said += [text.prose(roads.words(road, plan.assignment)) for road in open_roads or feasibility.roads]
    return (*said, *map(text.prose, feasibility.obstacles))
