"""How sure: what the model was held against, and how often verdicts like this one were wrong."""

from auditor.records.plan import Plan
from auditor.records.policy import Domain
from auditor.records.results import Results
from auditor.records.verdict import Assurance, Outcome
from auditor.reports import text


def how_sure(results: Results) -> tuple[str, ...]:
    """Assurance in words, then the known error rate, or that none is known."""
    plan, verdict = results.plan, results.verdict
    return (_assurance(plan, verdict.assurance), _error_rate(plan, verdict.outcome))


def _assurance(plan: Plan, level: Assurance) -> str:
    return text.ASSURANCE_SHORT[level].format(against=_against(plan))


def _against(plan: Plan) -> str:
    if plan.assignment is not None:
        divided = plan.assignment
        taught = f"{divided.n_forget} subjects that it was taught"
        if not divided.by_chance:
            return f"{taught}, {divided.n_holdout} that {text.prose(divided.declared_by or '')} declares like them"
        return f"{taught}, {divided.n_holdout} that chance kept from it"
    n = len(plan.models_of("reference"))
    return "no model" if n == 0 else "1 model" if n == 1 else f"{n} models"


def _error_rate(plan: Plan, outcome: Outcome) -> str:
    domain = plan.domain
    if domain is None:
        return "How often such verdicts are wrong was not measured on audits like this one."
    older = f" under the rules of policy version {domain.rules}" if domain.rules != plan.policy.version else ""
    return f"How often it is wrong, measured{older} on pairs of known truth like this one: {_rate(domain, outcome)}."


def _rate(domain: Domain, outcome: Outcome) -> str:
    if outcome == "DELETED":
        return f"models that had not forgotten were called DELETED in {text.error_rate(domain.false_deleted)}"
    if outcome == "INCONCLUSIVE":
        return f"deleted models were left open in {text.error_rate(domain.undecided)}"
    return f"deleted models were accused in {text.error_rate(domain.false_suppressed)}"
