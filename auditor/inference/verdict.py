"""The verdict: a pure function of plan, evidence and policy. No model, no clock, no randomness.

The rules, in order, are those of ``docs/verdict.md``; rule 4 is :mod:`auditor.inference.clearing`.
"""

from collections.abc import Sequence

from auditor.inference.advice import to_decide
from auditor.inference.assurance import assurance_level
from auditor.inference.case import Case, could_not_run, measured, percent, reason, show
from auditor.inference.clearing import not_run, obstacles, primary_obstacles
from auditor.records.evidence import Evidence
from auditor.records.plan import Plan
from auditor.records.verdict import Flag, Outcome, Reason, Verdict


def decide(plan: Plan, evidence: Sequence[Evidence], recipe_mismatch: str | None = None) -> Verdict:
    """Apply the rules of the design, in order.

    Args:
        plan: with the policy and the line-up.
        evidence: one for every planned check, the primaries marked (:mod:`auditor.inference.primaries`).
        recipe_mismatch: why the references do not count, where they do not.
    """
    case = Case(
        plan=plan,
        evidence=tuple(evidence),
        assurance=assurance_level(plan, recipe_mismatch),
        recipe_mismatch=recipe_mismatch,
        damaged=_damage(plan, evidence, recipe_mismatch),
    )
    over = _over_unlearned(case)
    flags: list[Flag] = ["DAMAGED"] if case.damaged else []
    flags += ["OVER_UNLEARNED"] if over else []
    outcome, reasons = _outcome(case)
    more = [Reason(kind="damaged", sentence=case.damaged)] if case.damaged else []
    more += over
    more += [Reason(kind="references do not count", sentence=recipe_mismatch)] if recipe_mismatch else []
    return Verdict(
        outcome=outcome,
        bound=_bound(case) if outcome == "DELETED" else None,
        flags=tuple(flags),
        assurance=case.assurance,
        reasons=tuple([*reasons, *more]),
        to_decide=to_decide(case) if outcome in ("INCONCLUSIVE", "NOT_DELETED") else (),
    )


def _outcome(case: Case) -> tuple[Outcome, list[Reason]]:
    bars, outputs = case.policy.thresholds, case.outputs
    if outputs is None or outputs.rho is None:
        # Nothing says whether the model works at all, so that only unchanged weights accuse.
        unchanged = list(case.conclusive.values())
        known: Outcome = "NOT_DELETED" if unchanged else "INCONCLUSIVE"
        return known, [*unchanged, _why_no_outputs(outputs), *not_run(case), *primary_obstacles(case)]
    # Before rule 1, since a wreck may name the forgotten class by chance (docs/verdict.md, rule 2). Unchanged weights
    # behind a filter that refuses everything look like one and are none.
    if case.wrecked and not case.conclusive:
        words = "the model no longer works: nothing that it gives can be put down to knowledge"
        return "INCONCLUSIVE", [Reason(kind="model does not work", sentence=words)]
    # Another machine may read ρ by the tolerance lower; a verdict that near to a threshold is not given.
    if outputs.rho.low - bars.tolerance > bars.output:
        words = f"above {bars.output:g}: the outputs still show the knowledge"
        return "NOT_FORGOTTEN", [measured("outputs show it", outputs, words)]
    accusers = list(_accusers(case).values())
    if not _forgotten(case, outputs):
        words = f"between the thresholds: {_why_between(case, outputs)}"
        between = measured("outputs between thresholds", outputs, words)
        return ("NOT_DELETED", [*accusers, between]) if accusers else _undecided(between, case)
    if accusers:
        return "SUPPRESSED", accusers
    found = obstacles(case)
    return ("INCONCLUSIVE", found) if found else ("DELETED", _cleared(case, outputs))


def _undecided(between: Reason, case: Case) -> tuple[Outcome, list[Reason]]:
    return "INCONCLUSIVE", [between, *not_run(case), *primary_obstacles(case)]


def _forgotten(case: Case, outputs: Evidence) -> bool:
    """Rule 1: the estimate below τ_output, the upper limit below τ_suppressed.

    The upper limit is not held against τ_output: a retrain whose outputs resolve just that would pass half of the time.
    What may still be in the outputs of a model called ``DELETED`` is the trace rule's business.
    """
    bars = case.policy.thresholds
    assert outputs.rho is not None, "asked before"
    return outputs.rho.value + bars.tolerance < bars.output and outputs.rho.high + bars.tolerance < bars.suppressed


def _why_between(case: Case, outputs: Evidence) -> str:
    bars = case.policy.thresholds
    assert outputs.rho is not None, "asked before"
    if outputs.rho.value + bars.tolerance >= bars.output:
        return f"the estimate does not lie below {bars.output:g}, nor the lower limit above it"
    return f"the upper limit does not lie below {bars.suppressed:g}"


def _accusers(case: Case) -> dict[str, Reason]:
    """By check, why it accuses: a finding that does so by itself, or ρ ≤ τ_suppressed rejected under its Holm."""
    outputs_known = case.outputs is not None and case.outputs.rho is not None
    # Nothing else that a wreck gives, or a model that may be one, can be put down to knowledge.
    if case.wrecked or not outputs_known:
        return case.conclusive
    rejected = case.rejecting({e.check: e.p_value for e in case.evidence})
    return case.conclusive | {
        e.check: measured("accuses", e, f"above {case.policy.thresholds.suppressed:g}")
        for e in case.evidence
        # Recovery from damage says nothing; what reads the model as it is still may accuse.
        if e.check in rejected and not (case.damaged and e.family == "tampering")
    }


def _cleared(case: Case, outputs: Evidence) -> list[Reason]:
    bars = case.policy.thresholds
    return [
        measured("outputs forgotten", outputs, f"below {bars.output:g}: the outputs are forgotten"),
        *[
            measured("clears", e, f"below {_bar(e, bars.deleted)}, with resolution {e.resolution:.2f}{_by(e)}")
            for e in case.primaries
        ],
        *_bound_by_another(case),
        *_unseen_items(case),
    ]


def _bar(e: Evidence, deleted: float) -> str:
    return f"{deleted:g}" if e.shows == 1 else f"{deleted:g} of the {e.shows:.2f} that it reads of a suppressed copy"


def _bound_by_another(case: Case) -> list[Reason]:
    """Where the bound comes from, if from none of the primaries."""
    widest = max((e for e in case.bounding if e.bound is not None), key=lambda e: e.bound or 0.0)
    words = "the highest upper limit, which is the bound"
    return [] if widest.primary else [measured("highest upper limit", widest, words)]


def _by(e: Evidence) -> str:
    """The effort that a bound holds for; a longer attack may bring back more."""
    return "" if e.effort is None else f", against {e.effort}"


def _unseen_items(case: Case) -> list[Reason]:
    """How many kept samples a deletion of listed samples would not have been told from."""
    if case.plan.request != "sample":
        return []
    return [
        reason(
            "kept items unseen",
            e,
            f"{e.items.smallest_visible} kept examples of {e.items.n_forget} would have been seen where they stand "
            "above all others, fewer not",
        )
        for e in case.evidence
        if e.items is not None and e.items.smallest_visible is not None and e.items.smallest_visible > 1
    ]


def _damage(plan: Plan, evidence: Sequence[Evidence], recipe_mismatch: str | None) -> str | None:
    """Rule 2: what the model lost of what it should have kept."""
    outputs = next((e for e in evidence if e.role == "outputs"), None)
    if outputs is None or outputs.utility is None:
        return None
    utility = outputs.utility
    # References of another recipe do not say what a model of this one should have kept.
    of_its_recipe = plan.assignment is None or not plan.assignment.by_chance
    counted = utility.references if not recipe_mismatch and of_its_recipe else {}
    # A true retrain may be as poor as the poorest reference.
    floor, whose = (min(counted.values()), "the lowest reference") if counted else (utility.original, "the original")
    if utility.unlearned >= floor - plan.policy.thresholds.retain:
        return None
    return (
        f"DAMAGED: retain accuracy {percent(utility.unlearned)}, {whose} {percent(floor)}: "
        "the model lost what it should have kept"
    )


def _over_unlearned(case: Case) -> list[Reason]:
    bar = -case.policy.thresholds.over
    return [
        Reason(
            kind="over-unlearned",
            check=e.check,
            sentence=f"OVER_UNLEARNED: {e.check}: ρ = {show(e.rho)}, below {bar:g}: less known than to models that "
            "never saw it, itself a leak",
        )
        for e in case.primaries
        # Without power the check cannot tell less from more, and a reading below says nothing.
        if e.rho is not None and e.powered and e.rho.high < bar
    ]


def _bound(case: Case) -> float:
    # What remains cannot be less than nothing: no bound below 0 is printed.
    return max(*(e.bound for e in case.bounding if e.bound is not None), 0.0)


def _why_no_outputs(outputs: Evidence | None) -> Reason:
    if outputs is None:
        words = "outputs: not measured, so nothing says whether the outputs are forgotten"
        return Reason(kind="outputs unknown", check="outputs", sentence=words)
    if outputs.failure is not None:
        return could_not_run(outputs)
    return reason("outputs unknown", outputs, f"no interval: {outputs.powerless_because}")
