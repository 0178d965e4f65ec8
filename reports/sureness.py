"""How sure: what the model was held against, and how often verdicts like this one were wrong."""

from collections.abc import Iterator

from auditor.records.plan import Plan
from auditor.records.policy import Domain
from auditor.records.results import Results
from auditor.records.verdict import Assurance, Outcome
from auditor.reports import formats, rates, text
from auditor.reports.sentence import strongest


def how_sure(results: Results) -> tuple[str, ...]:
    """Assurance in words, then the known error rate, or that none is known."""
    plan, verdict = results.plan, results.verdict
    answers = (text.ANSWERS_ONLY,) if plan.answers_only else ()
    return (*_certainty(results), _assurance(plan, verdict.assurance), *answers, _error_rate(plan, verdict.outcome))


def _certainty(results: Results) -> Iterator[str]:
    """How far from the line the answer lies, in one sentence."""
    verdict, bars = results.verdict, results.plan.policy.thresholds
    if verdict.outcome == "INCONCLUSIVE":
        yield "Not sure: this audit can say neither."
    if verdict.outcome == "DELETED" and verdict.bound is not None:
        most, bar = formats.upper_percent(verdict.bound), formats.percent(bars.deleted)
        limit = "No check's upper limit, of 95\u00a0% confidence each, leaves more than"
        yield f"{limit} {most}; a deletion needs less than {bar}."
    e = strongest(results)
    if verdict.outcome in ("SUPPRESSED", "NOT_DELETED") and e is not None and e.rho is not None and not e.conclusive:
        low, bar = formats.percent(e.rho.shown[1]), formats.percent(bars.suppressed)
        # The check that shows most was picked for it: its limit holds for that check, not for the best of several.
        yield (
            f"By the check that shows most at least {low} is left, with 95\u00a0% confidence for that check; to "
            f"accuse, it has to be more than {bar}, corrected for the number of checks."
        )


def _assurance(plan: Plan, level: Assurance) -> str:
    return text.ASSURANCE_SHORT[level].format(against=_against(plan))


def _against(plan: Plan) -> str:
    if plan.assignment is not None:
        divided = plan.assignment
        taught = f"{divided.n_forget} subjects that it was taught"
        if not divided.by_chance:
            return f"{taught}, {divided.n_holdout} that {formats.prose(divided.declared_by or '')} declares like them"
        return f"{taught}, {divided.n_holdout} that chance kept from it"
    n = len(plan.models_of("reference"))
    return "no model" if n == 0 else "1 model" if n == 1 else f"{n} models"


def _error_rate(plan: Plan, outcome: Outcome) -> str:
    domain = plan.domain
    if domain is None:
        return "Not known: how often such verdicts are wrong, since that was not measured on audits like this one."
    older = f" under the rules of policy version {domain.rules}" if domain.rules != plan.policy.version else ""
    return f"How often it is wrong, measured{older} on pairs of known truth like this one: {_rate(domain, outcome)}."


def _rate(domain: Domain, outcome: Outcome) -> str:
    if outcome == "DELETED":
        return f"models that had not forgotten were called DELETED in {rates.error_rate(domain.false_deleted)}"
    if outcome == "INCONCLUSIVE":
        return f"deleted models were left open in {rates.error_rate(domain.undecided)}"
    return f"deleted models were accused in {rates.error_rate(domain.false_suppressed)}"
