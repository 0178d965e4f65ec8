"""Whether a decoy's outputs are suppressed. Original and references decide: the unlearned model is not looked at."""

from collections.abc import Mapping

from auditor.checks.check import AnyCheck
from auditor.inference import nulls
from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores
from auditor.records.plan import Plan, Role
from auditor.records.score import Failure, Score


def suppressed(check: AnyCheck, plan: Plan, measured: Mapping[str, Score | Failure], decoy: Score) -> bool:
    """Whether the upper limit of ρ(outputs) lies below τ_output, the decoy held against the null as a subject would be.

    Where there is no interval, its T has to be below τ_output of the original's.

    Args:
        check: ``outputs``.
        plan: with policy and line-up.
        measured: scores of that check so far, by model; those of references that failed do not count.
        decoy: what it measured on the decoy.
    """

    def scores(role: Role) -> dict[str, Score]:
        found = {model.name: measured.get(model.name) for model in plan.models_of(role)}
        return {name: score for name, score in found.items() if isinstance(score, Score)}

    evidence = combine(
        check,
        CheckScores(
            original=scores("original")["original"],
            unlearned=decoy,
            references=scores("reference"),
            drawn={},
            perturbed=scores("perturbed"),
            decoys={},
            neither=scores("neither"),
        ),
        plan.policy,
        nulls.asked(plan.nulls),
        population=plan.request == "class",
        prior=plan.domain.spread.get(check.name) if plan.domain is not None else None,
        assignment=plan.assignment,
    )
    assert evidence.scores is not None, "made from scores"
    total, null, bar = evidence.scores.unlearned, evidence.scores.null, plan.policy.thresholds.output
    # A short forget set cannot bring the limit below τ_output however little is said; no strength would change that.
    if total <= max(null or 0.0, 0.0):
        return True
    return total < bar * evidence.scores.original if evidence.rho is None else evidence.rho.high < bar
