"""The reviewer's section: who answers for the audit, what was assumed, what would overturn it, how to check it."""

from collections.abc import Iterator
from dataclasses import dataclass

from auditor.records.access import MEANING, from_outside
from auditor.records.evidence import Evidence
from auditor.records.plan import Plan
from auditor.records.results import Results
from auditor.records.verdict import Outcome
from auditor.reports import formats
from auditor.reports.tables import Row, Table

ACCESS_TO_WEIGHTS = "The weights of both models and nothing else: no model was run."
ACCESS_TO_ANSWERS = (
    "Logs of what the models answered and how probable the right answers were, and nothing else: no model was run, no "
    "weights were read."
)
ACCESS_TO_ALL = (
    "White box: weights and architecture of every model, its activations, and the means to train copies of it; "
    "the data listed under “Models and data”."
)
# Recovery depends on the effort, so a bound means nothing without the adversary that it holds against.
ADVERSARY = (
    "Someone who holds the unlearned model’s weights, has half of the forget set to attack with, and spends what "
    "the settings of the checks say. Not covered: more data, more computing, attacks other than those listed, and "
    "access to other models or copies."
)
ACCESS_FROM_OUTSIDE = "Held to {access} of the unlearned model: {meaning}; references and original in full."
ADVERSARY_OUTSIDE = (
    "Someone who has {access} of the unlearned model and no more: {meaning}. Not covered: everything that can be done "
    "with the model’s weights."
)
ADVERSARY_WHO_ASKS = (
    "Someone who asks the logged questions in the logged words and sees how probable the right answers are. Not "
    "covered: other questions or other words, and everything that can be done with the model’s weights."
)
# No check can show these, so that they hold for every outcome and are said in every report.
LIMITS = (
    "A dishonest provider can make a model that passes a verification of unlearning and still carries what it was "
    "to forget (arXiv 2408.00929). This audit assumes a provider who did not build the model against its checks.",
    "A model that tells an audit from ordinary use, and behaves accordingly, is out of reach of every check that "
    "runs it.",
    "Nothing here shows that the audited weights are those in use: compare the digest with what is deployed.",
    "Nothing here shows that the forget set is complete, or that the references never saw it: that rests on whoever "
    "supplied them, unless the reviewer trained the references.",
    "A signature says who vouches for these files, not that they are right; only a rerun shows that the scores are "
    "those of the models.",
)
# A table of laws in a report is easily taken for compliance.
ABOUT_CROSSWALK = (
    "For information only. None of these texts names a test for unlearning, and this report is neither legal advice "
    "nor a certificate under any of them."
)
CROSSWALK: tuple[tuple[str, str, str], ...] = (
    (
        "GDPR Art. 17, with Art. 5(2)",
        "that erasure was carried out can be shown",
        "the verdict with its bound, for this model and this forget set; not for stored data, backups or other models",
    ),
    (
        "EU AI Act, Annex IV, 2(g)",
        "test procedures, test data and their characteristics, metrics, test reports dated and signed by those "
        "responsible",
        "the plan, models and data, the checks, responsible person and date; the signature is a file of its own",
    ),
    (
        "NIST AI RMF, MEASURE 2.1, 2.5, 2.7, 2.10",
        "metrics and tools documented; validity and its limits shown; security and privacy risk examined",
        "the plan and settings; power, decoys and what this does not prove; relearning, membership and what they found",
    ),
    (
        "ISO/IEC 42001, 9.1 and Annex A.6.2.4",
        "verification and validation measures are defined, carried out and kept as documented information",
        "the frozen plan with its digest, coverage, deviations, results.json and scores.json",
    ),
)
CHANGES: dict[Outcome, str] = {
    "NOT_FORGOTTEN": "The lower limit of ρ of the outputs at {output:g} or below.",
    "SUPPRESSED": (
        "Every accusing check ({accusing}) withdrawn: each of them suffices by itself. A check stops accusing when "
        "it no longer rejects ρ\u00a0≤\u00a0{suppressed:g} after correction for the number of checks, or when its "
        "finding, such as unchanged weights, turns out wrong."
    ),
    "NOT_DELETED": (
        "Every accusing check ({accusing}) withdrawn, as for SUPPRESSED; or outputs that are clearly forgotten or "
        "clearly not, which changes the name of the verdict and nothing else."
    ),
    "DELETED": (
        "An upper limit of a primary check, as a share of what it shows of a fully suppressed copy, at {deleted:g} or "
        "above (the highest is {bound}); a primary check "
        "that loses its power or misses a decoy; or any check, also one not made here, that rejects "
        "ρ\u00a0≤\u00a0{suppressed:g}."
    ),
    "INCONCLUSIVE": "What stands under “What would settle it”, at the top of this page.",
}
# A verdict that flips on another machine's rounding would not survive a rerun.
ABOUT_TOLERANCE = "Limits within {tolerance:g} of a bar count as on its wrong side, since machines differ by that much."


@dataclass(frozen=True, kw_only=True, slots=True)
class Review:
    """What a third party needs beside the findings.

    Attributes:
        facts: who, when, with what access, against whom.
        changes: what would change the verdict.
        deviations: from the plan; empty where there were none.
        coverage: how much of the plan was carried out, in one sentence.
        crosswalk: where each framework's evidence is found.
        limits: what no audit of this kind shows.
    """

    facts: tuple[tuple[str, str], ...]
    changes: tuple[str, ...]
    deviations: tuple[str, ...]
    coverage: str
    crosswalk: Table
    limits: tuple[str, ...] = LIMITS
    about_crosswalk: str = ABOUT_CROSSWALK


def build(results: Results, accusing: frozenset[str]) -> Review:
    """The section's words.

    Args:
        results: of the audit.
        accusing: names of the checks on which an accusation rests.
    """
    found = results.coverage
    return Review(
        facts=tuple(_facts(results.plan)),
        changes=(
            _change(results, accusing),
            ABOUT_TOLERANCE.format(tolerance=results.plan.policy.thresholds.tolerance),
        ),
        deviations=tuple(map(formats.prose, _deviations(results))),
        coverage=(
            f"{len(found.completed)} of {len(found.planned)} planned checks gave evidence; "
            f"of the other checks installed, {len(found.not_planned)} were not planned."
        ),
        crosswalk=Table(
            caption="Where evidence that other frameworks ask for is found",
            columns=("text", "asks for", "found in this report"),
            rows=tuple(Row(cells=cells) for cells in CROSSWALK),
            words=True,
        ),
    )


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    named = plan.asked.responsible
    who = ", ".join(part for part in (named.person, named.organisation) if part)
    # Missing is said, not left out: a reviewer has to see that nobody answers for the audit.
    yield "responsible", who or "not stated (audit.toml: [responsible])"
    yield "date", named.date.isoformat() if named.date is not None else "not stated"
    # A plan without layers compared weights alone, or what models answered elsewhere.
    yield "access", _access(plan)
    if named.access:
        # The program cannot know this; the words mark it as a claim.
        yield "how obtained", f"{named.access} (as stated by those responsible)"
    yield "adversary", _adversary(plan)


def _access(plan: Plan) -> str:
    held = plan.asked.audit.access
    if not plan.layers:
        return ACCESS_TO_ANSWERS if plan.answers_only else ACCESS_TO_WEIGHTS
    return ACCESS_TO_ALL if held == "training" else ACCESS_FROM_OUTSIDE.format(access=held, meaning=MEANING[held])


def _adversary(plan: Plan) -> str:
    held = plan.asked.audit.access
    if plan.answers_only:
        return ADVERSARY_WHO_ASKS
    return ADVERSARY_OUTSIDE.format(access=held, meaning=MEANING[held]) if from_outside(held) else ADVERSARY


def _change(results: Results, accusing: frozenset[str]) -> str:
    verdict, bars = results.verdict, results.plan.policy.thresholds
    return CHANGES[verdict.outcome].format(
        output=bars.output,
        suppressed=bars.suppressed,
        deleted=bars.deleted,
        # Only a deletion has a bound, and only its sentence names one.
        bound=formats.upper_percent(verdict.bound if verdict.bound is not None else bars.deleted),
        accusing=", ".join(sorted(accusing)),
    )


def _deviations(results: Results) -> Iterator[str]:
    for item in results.coverage.failed:
        yield f"{item.check} was planned and could not run: {item.reason}"
    # A set, since every check draws the same reference.
    uncounted = {name for e in results.evidence for name in _uncounted(e, results.plan)}
    if uncounted:
        yield f"planned as references and drawn without counting, since their recipe does not match: {len(uncounted)}"


def _uncounted(e: Evidence, plan: Plan) -> set[str]:
    drawn = set(e.scores.drawn) if e.scores is not None else set()
    return drawn & {model.name for model in plan.models_of("reference")}
