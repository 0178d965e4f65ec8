"""What a test can claim of an audit: each claim holds, is refuted, or is left open by the evidence."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from auditor.errors import SpecError

if TYPE_CHECKING:
    from auditor.audit import AuditResult
    from auditor.records.evidence import Evidence


class Inconclusive(AssertionError):
    """The evidence neither supports the claim nor refutes it."""


def assert_outcome(result: "AuditResult", expect: str) -> None:
    """The audit ended as expected, no flag stands beside the outcome, and every planned check ran.

    Args:
        result: of an audit.
        expect: ``deleted``, ``suppressed``, ``not-deleted``, ``not-forgotten`` or ``inconclusive``.

    Raises:
        AssertionError: another outcome was decided, or a flag was raised.
        Inconclusive: the audit could not decide, or its coverage is incomplete.
        SpecError: there is no such outcome.
    """
    # Imported where it is used: pytest imports this module in every run, audit or none.
    from auditor.records.verdict import EXPECTATIONS

    __tracebackhide__ = True
    if expect not in EXPECTATIONS:
        raise SpecError(f"expect = {expect!r} is no outcome; there are: {', '.join(EXPECTATIONS)}")
    verdict, wanted = result.results.verdict, EXPECTATIONS[expect]
    headline = f"{_subject(result)} is {_ending(result)}, expected {wanted}"
    # A flag refutes even where the outcome is open.
    if verdict.flags or verdict.outcome not in (wanted, "INCONCLUSIVE"):
        raise AssertionError(_message(result, headline, verdict.sentences))
    if verdict.outcome != wanted:
        raise Inconclusive(_message(result, headline, _open_questions(result)))
    if not result.results.coverage.complete:
        headline = f"{_subject(result)} is {wanted}, but a planned check could not run"
        raise Inconclusive(_message(result, headline, _not_run(result)))


def assert_deleted(result: "AuditResult") -> None:
    """The evidence is consistent with deletion: :func:`assert_outcome` with ``deleted``."""
    __tracebackhide__ = True
    assert_outcome(result, "deleted")


def assert_not_suppressed(result: "AuditResult") -> None:
    """The knowledge is gone from the outputs, and no check recovered it although each primary could have.

    Unlike :func:`assert_deleted` it leaves a damaged or over-unlearned model open instead of refuting it.

    Raises:
        AssertionError: some check recovered the knowledge, or the outputs still show it.
        Inconclusive: no check recovered it, but neither was it bounded: silence is no evidence.
    """
    __tracebackhide__ = True
    verdict = result.results.verdict
    headline = f"{_subject(result)} is {_ending(result)}, expected no suppressed knowledge"
    if verdict.outcome in ("SUPPRESSED", "NOT_DELETED", "NOT_FORGOTTEN"):
        raise AssertionError(_message(result, headline, verdict.sentences))
    if verdict.outcome == "INCONCLUSIVE":
        raise Inconclusive(_message(result, headline, _open_questions(result)))


def assert_residual_below(result: "AuditResult", limit: float, check: str | None = None) -> None:
    """The *upper* limit of ρ lies below ``limit``, by a check that had the power to see a residue.

    Args:
        result: of an audit.
        limit: share of the original's recoverable knowledge, above 0 and at most 1.
        check: by name; None holds every primary check of the request to the limit.

    Raises:
        AssertionError: an upper limit is not below it, by more than what two machines may differ.
        Inconclusive: a check could not run, or had no power.
        SpecError: the limit is no share, or the audit has no such check.
    """
    from auditor.inference.case import of_shown

    __tracebackhide__ = True
    if not 0 < limit <= 1:
        raise SpecError(
            f"limit = {limit!r} is no share of the original's knowledge; give one above 0 and up to 1 (0.2 is a fifth)"
        )
    found = [_bounding(result, name) for name in ([check] if check is not None else _primaries(result))]
    tolerance = result.results.plan.policy.thresholds.tolerance
    # Refuted before left open: one check beyond the limit decides, whatever another could not see.
    over = [e for e in found if e.rho is not None and e.rho.high + tolerance >= limit * e.shows]
    if over:
        sentences = [f"{_rho(e)}, its upper limit does not lie below {limit:g}{of_shown(e)}" for e in over]
        raise AssertionError(_message(result, f"{_subject(result)} may keep more than {limit:g}", sentences))
    unable = [f"{e.check}: {_why_unable(e)}" for e in found if e.rho is None or not e.powered]
    if unable:
        raise Inconclusive(_message(result, f"{_subject(result)} cannot be held to {limit:g}", unable))


def assert_utility_kept(result: "AuditResult", loss: float) -> None:
    """Retain accuracy lies at most ``loss`` below the lowest counted reference or, without any, the original.

    Args:
        result: of an audit.
        loss: difference of accuracies, 0 to below 1; 0.02 is two percentage points.

    Raises:
        AssertionError: more was lost.
        Inconclusive: retain accuracy was not measured.
        SpecError: the loss is no difference of accuracies.
    """
    __tracebackhide__ = True
    if not 0 <= loss < 1:
        raise SpecError(f"loss = {loss!r} is no loss of accuracy; give one from 0 to below 1 (0.02 is 2 points)")
    outputs = result.results.outputs
    if outputs is None or outputs.utility is None:
        headline = f"{_subject(result)}: retain accuracy was not measured"
        raise Inconclusive(_message(result, headline, [f"outputs: {_why_unable(outputs)}"]))
    utility = outputs.utility
    # The bar of the verdict's flag DAMAGED, with the test's own tolerance.
    floor = min(utility.references.values(), default=utility.original)
    if utility.unlearned < floor - loss:
        whose = "the lowest reference" if utility.references else "the original"
        lost = (
            f"outputs: retain accuracy {utility.unlearned:.3f}, {whose} {floor:.3f}: "
            f"{floor - utility.unlearned:.3f} lost, at most {loss:g} allowed"
        )
        raise AssertionError(_message(result, f"{_subject(result)} lost what it should have kept", [lost]))


def summary(result: "AuditResult") -> str:
    """What an audit found, and where its report is, for the end of a test run."""
    return _message(result, f"{_subject(result)} is {_ending(result)}", result.results.verdict.sentences)


def _primaries(result: "AuditResult") -> tuple[str, ...]:
    """What has to clear: the primaries, and of a family that none was planned for every candidate.

    Raises:
        SpecError: the policy asks for none of this request.
    """
    plan = result.results.plan
    families = plan.policy.primaries.get(plan.request, {})
    if not families:
        raise SpecError(f"policy {plan.policy.name} has no primary check for requests of kind {plan.request}; name one")
    chosen = {choice.family: (choice.check,) for choice in result.results.primaries}
    return tuple(name for family, names in families.items() for name in chosen.get(family, names))


def _bounding(result: "AuditResult", check: str) -> "Evidence":
    """The evidence of a check that speaks ρ.

    Raises:
        SpecError: the audit has no such check.
    """
    found = result.results.of(check)
    if found is None or found.may == "inform":
        able = [e.check for e in result.results.evidence if e.may != "inform"]
        why = "is not in this audit" if found is None else "only informs and has no ρ"
        raise SpecError(f"the check {check!r} {why}; checks that bound a residue here: {', '.join(able)}")
    return found


def _why_unable(evidence: "Evidence | None") -> str:
    if evidence is None:
        return "not in this audit"
    if evidence.failure is not None:
        return f"could not run ({evidence.failure.reason})"
    return f"no power to clear: {evidence.powerless_because}"


def _rho(evidence: "Evidence") -> str:
    rho = evidence.rho
    return evidence.check if rho is None else f"{evidence.check}: ρ = {rho}"


def _subject(result: "AuditResult") -> str:
    (model,) = result.results.plan.models_of("unlearned")
    return model.source or "the unlearned model"


def _ending(result: "AuditResult") -> str:
    from auditor.reports.formats import upper_percent

    verdict = result.results.verdict
    flags = f" [{', '.join(verdict.flags)}]" if verdict.flags else ""
    bound = f", at most {upper_percent(verdict.bound)} remains" if verdict.bound is not None else ""
    return f"{verdict.outcome}{flags} (assurance {verdict.assurance}{bound})"


def _open_questions(result: "AuditResult") -> list[str]:
    verdict = result.results.verdict
    return [*verdict.sentences, *(f"to settle it: {wish}" for wish in verdict.to_decide)]


def _not_run(result: "AuditResult") -> list[str]:
    return [f"{item.check}: could not run ({item.reason})" for item in result.results.coverage.failed]


def _message(result: "AuditResult", headline: str, sentences: Sequence[str]) -> str:
    """The first sentence on the first line, which is all that pytest's short summary shows."""
    first, *others = sentences
    where = "nowhere, since the audit was given no folder" if result.folder is None else result.folder / "report.html"
    return "\n".join([f"{headline}: {first}", *others, f"report: {where}"])
