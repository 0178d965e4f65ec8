"""Which check of each required family is the primary one: decided without a look at the unlearned model."""

from collections.abc import Mapping, Sequence

from auditor.records.evidence import Evidence
from auditor.records.plan import Plan
from auditor.records.results import PrimaryChoice


def choose(plan: Plan, evidence: Sequence[Evidence]) -> tuple[PrimaryChoice, ...]:
    """The primary of every family that the policy requires and that the plan can serve.

    Of several candidates it is the one that resolves the smallest residue, as a share of what it shows of a suppressed
    copy, among those that have power; resolution and power come from original, references and decoys
    (:attr:`~auditor.records.evidence.Evidence.sighted`), so that what the unlearned model scored has no influence.
    Under goal ``concept`` only a check held against control concepts answers the question, so it comes first.

    Args:
        plan: with the policy; a family none of whose candidates is planned is missing from the result.
        evidence: of every planned check.
    """
    by_name = {e.check: e for e in evidence}
    planned = {item.name for item in plan.checks}
    families = plan.policy.primaries.get(plan.request, {})
    able = {family: [name for name in names if name in planned] for family, names in families.items()}
    return tuple(_choice(plan.goal, family, names, by_name) for family, names in able.items() if names)


def _choice(goal: str, family: str, names: Sequence[str], by_name: Mapping[str, Evidence]) -> PrimaryChoice:
    def rank(name: str) -> tuple[bool, bool, float]:
        e = by_name[name]
        other_question = goal == "concept" and e.null_kind != "controls"
        return other_question, not e.sighted, float("inf") if e.finest is None else e.finest

    best = min(names, key=rank)  # of equals, the first in the policy
    return PrimaryChoice(family=family, check=best, resolutions={name: by_name[name].resolution for name in names})


def marked(evidence: Sequence[Evidence], primaries: Sequence[PrimaryChoice]) -> tuple[Evidence, ...]:
    """The evidence with its primaries marked."""
    names = {choice.check for choice in primaries}
    return tuple(e.model_copy(update={"primary": e.check in names}) for e in evidence)
