"""What the primary checks resolve with the references there are: from original and references alone.

No unlearned model is loaded. Whether to train further references may therefore be decided by what is found here; a
decision that looked at the model to be judged would bias the verdict. The scores go to the store of scores, where an
audit of the same data finds them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from auditor.checks.check import AnyCheck
from auditor.errors import UsageError
from auditor.inference import nulls
from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores
from auditor.records.events import Event
from auditor.records.plan import Plan
from auditor.records.policy import Policy
from auditor.records.score import Failure, Score
from auditor.records.spec import AuditSpec
from auditor.run.preparing import prepare
from auditor.run.runner import Scores, Work, run
from auditor.run.settings import execution_settings

TARGET_SHARE = 0.7
"""Of τ_deleted. An upper limit lies about w above ρ, so at w = τ_deleted a true retrain stays below τ_deleted in half
of all audits, at .7 of it in .77 to .79 (Student's t, 12 to 5 references)."""
FEWEST = 5
"""References before the first look. To stop on w is to stop where the spread happens to be small, which costs an upper
limit part of its level; the more, the fewer references there are at the first look (docs/references.md)."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What one check resolves.

    Attributes:
        check: its name.
        family: of the check; one check of each family has to resolve.
        w: smallest residue it can rule out, as a share of what it reads of suppressed copies
            (:attr:`~auditor.records.evidence.Evidence.finest`); None where original and references show no gap.
        missed: decoys that it has to see through and does not: no number of references alone lets it clear then.
    """

    check: str
    family: str
    w: float | None
    missed: tuple[str, ...] = ()

    def enough(self, bar: float) -> bool:
        """Whether it could clear a true retrain, to be expected at this bar."""
        return self.w is not None and self.w <= bar and not self.missed


def target(policy: Policy) -> float:
    """Largest w with which ``DELETED`` is to be expected of a true retrain."""
    return TARGET_SHARE * policy.thresholds.deleted


def unresolved(found: Sequence[Resolved], bar: float) -> list[str]:
    """Families of which no check resolves the target.

    >>> few_shot = Resolved(check="few_shot", family="representation", w=0.5)
    >>> depth = Resolved(check="depth", family="representation", w=0.2)
    >>> unresolved([few_shot], 0.35), unresolved([few_shot, depth], 0.35)
    (['representation'], [])
    """
    enough = {one.family for one in found if one.enough(bar)}
    return [family for family in dict.fromkeys(one.family for one in found) if family not in enough]


def resolutions(
    spec: AuditSpec,
    base: Path,
    names: Sequence[str] | None = None,
    report: Callable[[Event], None] = lambda event: None,
) -> tuple[list[Resolved], Policy]:
    """Score original and references by some checks, and say what each resolves.

    Args:
        spec: the request; its references are those to be scored, and an unlearned model in it is left alone.
        base: folder that its paths are relative to.
        names: checks by name; None for the primary ones of the request.
        report: told of every finished unit of work.

    Returns:
        What each check resolves, and the policy that it is to be held against.

    Raises:
        UsageError: a check is not among those that the sets allow, or could not be run.
    """
    if spec.request.goal == "concept":
        raise UsageError("goal concept is held against control concepts, which more references do not narrow")
    # audit.checks may leave a primary out, whose resolution is asked for here all the same.
    everything = spec.model_copy(update={"audit": spec.audit.model_copy(update={"checks": None})})
    work = prepare(everything, base, {}, report=report, judged=False).work
    wanted = names if names is not None else [check.name for check in work.plan.checks if check.primary_for]
    work = _narrowed(work, wanted)
    with execution_settings(work.plan.execution.threads):
        scores = run(work)
    checks = [check for check in work.checks if check.name in wanted]
    return [_resolved(work.plan, check, scores) for check in checks], work.plan.policy


def _narrowed(work: Work, wanted: Sequence[str]) -> Work:
    """The work of some checks on original and references; outputs stay, since by them the original is found to work."""
    missing = [name for name in wanted if name not in {check.name for check in work.checks}]
    if missing or not wanted:
        raise UsageError(
            f"the primary check {missing[0] if missing else ''} cannot be run with these sets; "
            "`audit compare --dry-run` says what is lacking"
        )
    kept = {*wanted, *(check.name for check in work.checks if check.role == "outputs")}
    decoys = {name for check in work.checks if check.name in wanted for name in check.decoys}
    plan = work.plan.model_copy(
        update={
            # A decoy that none of them has to see through would be made and scored for nothing.
            "models": tuple(model for model in work.plan.models if model.role != "decoy" or model.name in decoys),
            "checks": tuple(check for check in work.plan.checks if check.name in kept),
        }
    )
    return replace(work, plan=plan, checks=[check for check in work.checks if check.name in kept])


def _resolved(plan: Plan, check: AnyCheck, scores: Scores) -> Resolved:
    by_role = {
        role: {model.name: _scored(check, scores[check.name][model.name]) for model in plan.models_of(role)}
        for role in ("original", "reference", "perturbed", "neither", "decoy")
    }
    original = by_role["original"]["original"]
    lineup = CheckScores(
        original=original,
        # Nothing that is read here depends on the subject; the original keeps its seat.
        unlearned=original,
        references=by_role["reference"],
        drawn={},
        perturbed=by_role["perturbed"],
        decoys=by_role["decoy"],
        neither=by_role["neither"],
    )
    prior = plan.domain.spread.get(check.name) if plan.domain is not None else None
    evidence = combine(
        check,
        lineup,
        plan.policy,
        nulls.asked(plan.nulls),
        population=plan.request == "class",
        goal=plan.goal,
        prior=prior,
        assignment=plan.assignment,
    )
    seen = evidence.decoys
    missed = tuple(name for name in evidence.assigned_decoys if name in seen and not seen[name].detected)
    return Resolved(check=check.name, family=check.family, w=evidence.finest, missed=missed)


def _scored(check: AnyCheck, score: Score | Failure) -> Score:
    if isinstance(score, Failure):
        raise UsageError(
            f"{check.name} could not be run on {score.model}: {score.reason}; more references change nothing"
        )
    return score
