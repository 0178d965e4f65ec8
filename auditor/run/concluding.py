"""From scores to results: evidence of every check, the verdict, and what is covered."""

from collections.abc import Mapping, Sequence

from auditor.checks.check import AnyCheck
from auditor.inference import nulls
from auditor.inference.assurance import recipe_mismatch
from auditor.inference.combine import combine, failed
from auditor.inference.compared import CheckScores
from auditor.inference.primaries import choose, marked
from auditor.inference.verdict import decide
from auditor.records.environment import describe
from auditor.records.evidence import Evidence
from auditor.records.plan import Plan
from auditor.records.results import Coverage, MissingCheck, RecordedScores, Results
from auditor.records.score import CanonicalForm, Failure, Score
from auditor.run import roads
from auditor.run.choosing import left_out
from auditor.run.runner import Scores
from auditor.run.units import contained


def conclude(plan: Plan, checks: Sequence[AnyCheck], scores: Scores) -> Results:
    """Evidence, verdict and coverage from scores."""
    outputs = next((check for check in checks if check.role == "outputs"), None)
    mismatch = None
    # Before the other checks: references of another recipe, which the outputs show, count for none of them.
    if outputs is not None:
        mismatch = recipe_mismatch(plan, _evidence(plan, outputs, scores[outputs.name], counts=True))
    found = [_evidence(plan, check, scores[check.name], counts=mismatch is None) for check in checks]
    primaries = choose(plan, found)
    evidence = marked(found, primaries)
    return Results(
        plan=plan,
        plan_digest=plan.digest,
        primaries=primaries,
        roads=roads.measured(plan, checks, scores),
        evidence=evidence,
        verdict=decide(plan, evidence, mismatch),
        coverage=_coverage(plan, evidence),
        environment=describe(plan.execution.device),
        scores_digest=RecordedScores(scores=scores).digest,
        canonical=_form(checks, scores),
    )


def _form(checks: Sequence[AnyCheck], scores: Scores) -> CanonicalForm | None:
    """What the check of the weights says that they are."""
    found = next((scores[check.name].get("unlearned") for check in checks if check.role == "weights"), None)
    return found.form if isinstance(found, Score) else None


def _evidence(plan: Plan, check: AnyCheck, scores: Mapping[str, Score | Failure], *, counts: bool) -> Evidence:
    for score in scores.values():
        # One failure leaves the check without evidence: missing is never zero, and never a pass.
        if isinstance(score, Failure):
            return failed(check, score)
    by_role = {
        role: {m.name: s for m in plan.models_of(role) if isinstance(s := scores[m.name], Score)}
        for role in ("original", "unlearned", "reference", "perturbed", "neither", "decoy")
    }
    lineup = CheckScores(
        original=by_role["original"]["original"],
        unlearned=by_role["unlearned"]["unlearned"],
        references=by_role["reference"] if counts else {},
        drawn={} if counts else by_role["reference"],
        perturbed=by_role["perturbed"],
        decoys=by_role["decoy"],
        neither=by_role["neither"],
    )
    against = nulls.asked(plan.nulls)
    # A check has code of its own here, too: it settles readings and chooses among them.
    found = contained(
        lambda: combine(
            check,
            lineup,
            plan.policy,
            against,
            population=plan.request == "class",
            goal=plan.goal,
            prior=plan.domain.spread.get(check.name) if plan.domain is not None else None,
            assignment=plan.assignment,
            seed=_seed(plan, check),
        )
    )
    return failed(check, found) if isinstance(found, Failure) else found


def _seed(plan: Plan, check: AnyCheck) -> int:
    return next(item.seed for item in plan.checks if item.name == check.name)


def _coverage(plan: Plan, evidence: Sequence[Evidence]) -> Coverage:
    missing = tuple(MissingCheck(check=e.check, reason=e.failure.reason) for e in evidence if e.failure is not None)
    return Coverage(
        planned=tuple(item.name for item in plan.checks),
        completed=tuple(e.check for e in evidence if e.failure is None),
        failed=missing,
        not_planned=tuple(left_out(plan)),
        complete=not missing,
    )
