"""The first screen: what came out, what decided, how sure that is, what to do next, and who answers for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditor.records import verdict as verdicts
from auditor.records.evidence import Evidence
from auditor.records.plan import Plan, PlannedAssignment, Role
from auditor.records.results import Results
from auditor.records.verdict import Verdict
from auditor.reports import axis, formats, rates, text
from auditor.reports.axis import Axis
from auditor.reports.next_steps import Step, next_steps
from auditor.reports.not_accusing import not_accusing
from auditor.reports.sentence import deciding, sentence
from auditor.reports.sureness import how_sure
from auditor.reports.tally import tally

MOST_ROWS = 5  # of the first screen's axis: outputs, three primaries and the check of the bound; all stand further down


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """The first screen.

    Attributes:
        outcome: as written in results.json.
        short: the outcome in words, for the page's title.
        headline: the verdict in one sentence.
        sentence: what decided, with numbers.
        subject: the unlearned model.
        original: what it was held against.
        asked: what was to be forgotten; empty where no forget set was given.
        flags: names with what they mean.
        axis: the checks that decided.
        tally: what became of all checks, counted.
        sure: assurance, then the error rate.
        steps: what to do next.
        signed: date, who is responsible, and version, as short phrases.
    """

    outcome: str
    short: str
    headline: str
    sentence: str
    subject: str
    original: str
    asked: str
    flags: tuple[tuple[str, str], ...]
    axis: Axis
    tally: str
    sure: tuple[str, ...]
    steps: tuple[Step, ...]
    signed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One reason of the verdict, in its own words, with what its check did where it speaks of one."""

    words: str
    gloss: str = ""
    anchor: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reasoning:
    """Why, in the verdict's own terms, and what goes with it."""

    reasons: tuple[Reason, ...]
    how_to_read: str
    about_rho: str
    bars: str
    to_decide: tuple[str, ...]
    not_proven: tuple[str, ...]
    warnings: tuple[str, ...]
    assurance: str
    assurance_meaning: str
    scale: tuple[tuple[str, str], ...]
    comparison: str
    pair: tuple[tuple[str, str], ...]


def opening(results: Results, ordered: Sequence[Evidence], anchors: dict[str, str]) -> Opening:
    """The first screen's words and drawing.

    Args:
        results: of the audit.
        ordered: evidence in the order of the page.
        anchors: of the checks' sections, by name.
    """
    plan, verdict = results.plan, results.verdict
    return Opening(
        outcome=verdict.outcome,
        short=text.OUTCOME_NAMES[verdict.outcome],
        headline=text.headline(verdict.outcome, verdict.bound),
        sentence=sentence(results),
        subject=_sources(plan, "unlearned"),
        original=_sources(plan, "original"),
        asked=_asked(plan),
        flags=tuple((flag, text.FLAGS[flag]) for flag in verdict.flags),
        axis=axis.build(
            _shown(results, ordered),
            plan.policy.thresholds,
            verdict.accusers,
            clearing(verdict),
            bounding(verdict),
            anchors,
        ),
        tally=tally(results, (*clearing(verdict), *filter(None, (bounding(verdict),)))),
        sure=how_sure(results),
        steps=next_steps(results),
        signed=tuple(_signed(plan)),
    )


def clearing(verdict: Verdict) -> tuple[str, ...]:
    """Checks on which a deletion rests."""
    return tuple(r.check for r in verdict.reasons if r.kind in ("clears", "outputs forgotten") and r.check is not None)


def bounding(verdict: Verdict) -> str | None:
    """The check beside those whose upper limit is the bound of a deletion, where it is not one of them."""
    return next((r.check for r in verdict.reasons if r.kind == "highest upper limit"), None)


def _shown(results: Results, ordered: Sequence[Evidence]) -> list[Evidence]:
    """What decided, then what else counts most: primaries, and checks that accuse."""
    first = deciding(results)
    others = [e for e in ordered if (e.primary or e.check in results.verdict.accusers) and e not in first]
    return [e for e in (*first, *others) if e.rho is not None][:MOST_ROWS]


def _asked(plan: Plan) -> str:
    """The forget set in a few words."""
    n = next((data.n_examples for data in plan.data if data.name == "forget"), 0)
    if n == 0:
        return ""
    if plan.request == "class":
        return f"{'class' if len(plan.classes) == 1 else 'classes'} {_classes(plan)} ({n} examples)"
    return f"{n} {'facts' if plan.request == 'facts' else 'listed examples'}"


def _signed(plan: Plan) -> Iterator[str]:
    named = plan.asked.responsible
    who = ", ".join(part for part in (named.person, named.organisation) if part)
    # What nobody stated is said to be missing, with where it is stated: a page without a name looks like anybody's.
    yield f"Date: {named.date.isoformat() if named.date is not None else 'not stated'}"
    yield f"Responsible: {who or 'not stated'}"
    if not who or named.date is None:
        yield "State them by `[responsible]` in audit.toml"
    yield f"Auditor {plan.auditor_version}, policy {plan.policy.name} {plan.policy.version}"


def reasoning(results: Results, anchors: dict[str, str]) -> Reasoning:
    """Why, in the verdict's own terms."""
    plan, verdict = results.plan, results.verdict
    bars = plan.policy.thresholds
    return Reasoning(
        reasons=tuple(_reason(reason, results, anchors) for reason in verdict.reasons),
        how_to_read=text.how_to_read(verdict.outcome, verdict.bound),
        about_rho=text.ABOUT_RHO.format(null=text.NULLS[_assigned(plan)]),
        bars=text.BARS.format(suppressed=bars.suppressed, deleted=bars.deleted),
        to_decide=tuple(map(formats.prose, verdict.to_decide)),
        not_proven=_not_proven(plan, verdict),
        warnings=tuple(_warnings(results, verdict)),
        assurance=verdict.assurance,
        assurance_meaning=text.assurance(verdict.assurance, plan),
        scale=tuple(text.ASSURANCE_SCALE.items()),
        comparison=_comparison(plan),
        pair=(
            ("original", _identified(plan, "original")),
            ("unlearned", _identified(plan, "unlearned")),
            *(("canonical form", words) for words in text.deploy(results.canonical, verdict.outcome)),
            ("request", request(plan)),
            *(("forget set", f"{d.n_examples} examples") for d in plan.data if d.name == "forget"),
        ),
    )


def request(plan: Plan) -> str:
    """What was to be forgotten, in words."""
    wish = text.REQUESTS.get(plan.request, plan.request)
    which = f" ({_classes(plan)}, of {plan.n_classes} classes)" if plan.classes and plan.request == "class" else ""
    return f"{wish}{which}; goal: {text.GOALS.get(plan.goal, plan.goal)}"


def _classes(plan: Plan) -> str:
    # A stranger's file may name a class that it gives no name for.
    named = (f"{c} “{plan.class_names[c]}”" if 0 <= c < len(plan.class_names) else str(c) for c in plan.classes)
    return ", ".join(named)


def _not_proven(plan: Plan, verdict: Verdict) -> tuple[str, ...]:
    found = text.NOT_PROVEN[verdict.outcome]
    if plan.assignment is None or verdict.outcome == "INCONCLUSIVE":
        return found
    # Said of the references elsewhere, which are not what this verdict rests on.
    own = text.ASSIGNED_NOT_PROVEN
    if not plan.assignment.by_chance:
        own = text.DECLARED_NOT_PROVEN.format(declared_by=plan.assignment.declared_by)
    return (*(words for words in found if "references" not in words), formats.prose(own))


def _assigned(plan: Plan) -> str:
    return "no" if plan.assignment is None else plan.assignment.kind


def _reason(reason: verdicts.Reason, results: Results, anchors: dict[str, str]) -> Reason:
    words = formats.prose(reason.sentence)
    e = results.of(reason.check) if reason.check is not None else None
    if e is None:
        return Reason(words=words)
    gloss = " ".join(filter(None, (e.summary, not_accusing(e, results))))
    return Reason(words=words, gloss=gloss, anchor=anchors[e.check])


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
    parts = [formats.plural(references, "reference")]
    if neither := len(plan.models_of("neither")):
        parts.append(f"{formats.plural(neither, 'model')} that saw neither forget nor holdout")
    if plan.assignment is not None:
        parts.append(_divided(plan.assignment))
    if perturbed:
        parts.append(f"{perturbed} more of a perturbed recipe")
    line_up = f"In the line-up: {', '.join([*parts, formats.plural(decoys, 'decoy')])}."
    return f"{line_up} {text.ABOUT_DECOYS}" if decoys else line_up


def _divided(divided: PlannedAssignment) -> str:
    subjects = f"{divided.n_forget} forget and {divided.n_holdout} holdout subjects"
    if not divided.by_chance:
        return f"{subjects}, which {formats.prose(divided.declared_by or '')} declares alike and nobody drew"
    proof = "by the word of whoever asked" if divided.commitment is None else f"committed as {divided.commitment[:12]}…"
    return f"{subjects} divided by chance, {proof}"


def _warnings(results: Results, verdict: Verdict) -> Iterator[str]:
    if not results.coverage.complete:
        # Missing is never a pass: it stands before everything else.
        missing = "; ".join(f"{item.check} gave no evidence ({item.reason})" for item in results.coverage.failed)
        yield f"Coverage is incomplete: {missing or 'some planned check gave no evidence'}."
    if results.canonical is not None and (words := text.disagreement(results.canonical)) is not None:
        yield formats.prose(f"{words[0].upper()}{words[1:]}.")
    if (access := results.plan.asked.audit.access) != "training":
        yield text.held_to(access)
    for e in results.evidence:
        yield from (formats.prose(f"Not as planned: {e.check} on {m} {words}.") for m, words in e.deviations.items())
    # Error rates hold inside their domain only; quoted outside they would vouch for what nobody has measured.
    if results.plan.domain is None:
        yield rates.uncalibrated(results.plan.policy, results.plan.task)
    else:
        yield from rates.measured(results.plan.domain, results.plan.policy)
    # Files and commands write not-forgotten, verdicts NOT_FORGOTTEN.
    wanted = results.plan.expect.replace("-", "_").upper()
    if wanted != verdict.outcome:
        yield f"The audit was run expecting “{results.plan.expect}”."
