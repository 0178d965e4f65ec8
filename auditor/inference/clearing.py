"""Rule 4: everything that stands in the way of ``DELETED``."""

from auditor.inference.assurance import spread_is_known, subjects_lack
from auditor.inference.case import Case, could_not_run, measured, of_shown, reason, show
from auditor.inference.statistics import holm
from auditor.inference.top_items import holdout_lack, standing_out
from auditor.records.access import from_outside
from auditor.records.evidence import Evidence
from auditor.records.plan import PlannedAssignment
from auditor.records.road import NO_REFERENCE
from auditor.records.verdict import Reason

_NOT_RUN = "no model was run: this audit saw what the models answered, and nothing of what their weights hold"


def obstacles(case: Case) -> list[Reason]:
    """Why ``DELETED`` is not given; empty when it is."""
    found = not_run(case) or _seen_from_outside(case)
    if case.damaged:
        words = "the model is damaged: forgetting by breaking is no deletion"
        found.append(Reason(kind="damaged", sentence=words))
    if case.plan.assignment is not None:
        found += _assignment_obstacles(case, case.plan.assignment)
    # Few references bound their own spread badly; at A2 the spread that calibration lends makes up for it.
    elif case.assurance in ("A0", "A1") or (case.assurance == "A2" and not spread_is_known(case.plan)):
        words = f"assurance {case.assurance}: too few references for DELETED"
        found.append(Reason(kind="too few references", sentence=words))
    # References retrained from the same pretrained weights keep the concept, so they are the wrong null here
    # (docs/verdict.md, goal concept).
    if case.plan.goal == "concept" and not any(e.null_kind == "controls" for e in case.primaries):
        words = (
            "goal concept: no primary check was held against never-trained control concepts; ten or more are needed "
            "as the null (data.control)"
        )
        found.append(Reason(kind="no control concepts", sentence=words))
    found += [*primary_obstacles(case), *_beside_the_primaries(case), *_decoy_obstacles(case)]
    return found or _out_of_reach(case)


def _out_of_reach(case: Case) -> list[Reason]:
    """What the plan named before anything was scored, whatever a policy of its own makes of the scores."""
    return [
        Reason(kind="not planned", sentence=f"out of this plan's reach: {words}")
        for words in case.plan.feasibility.obstacles
    ]


def _seen_from_outside(case: Case) -> list[Reason]:
    """That nothing which has to clear looked behind what the model gives out.

    Asked of the primaries and not of what was allowed: a policy of its own may name none that looks inside.
    """
    access = {item.name: item.access for item in case.plan.checks}
    if any(not from_outside(access.get(e.check, "training")) for e in case.primaries):
        return []
    held = case.plan.asked.audit.access
    # The primary that looks inside was allowed and is not there, which is said of it.
    if not from_outside(held) and _not_planned(case):
        return []
    words = (
        f"access to {held}: no primary check looked behind what the model gives out, which an "
        "unlearner can make to look like anything"
    )
    return [Reason(kind="too little access", sentence=words)]


def not_run(case: Case) -> list[Reason]:
    """That answers were all there was to look at, whatever a policy asks for: a deletion is about weights."""
    return [Reason(kind="not planned", sentence=_NOT_RUN)] if case.plan.answers_only else []


def _assignment_obstacles(case: Case, divided: PlannedAssignment) -> list[Reason]:
    """What the second road asks for: subjects enough, and every primary held against those that chance left out."""
    lack = subjects_lack(divided)
    found = [] if lack is None else [Reason(kind="too few subjects", sentence=f"assurance {case.assurance}: {lack}")]
    if not divided.by_chance and (case.recipe_mismatch or not case.plan.models_of("reference")):
        words = f"assurance {case.assurance}: that forget and holdout are alike is declared, not drawn: {NO_REFERENCE}"
        found.append(Reason(kind="too few references", sentence=words))
    return found + [
        reason("no power", e, f"held against {e.null_words}, not against the subjects that were held out")
        for e in case.primaries
        if e.powered and e.null_kind != "holdout"
    ]


def primary_obstacles(case: Case) -> list[Reason]:
    """What keeps the primaries from clearing."""
    return _not_planned(case) + [found for e in case.primaries for found in _primary_obstacle(case, e)]


def _not_planned(case: Case) -> list[Reason]:
    """Families without a planned check, never dropped: what was not looked for is not ruled out."""
    planned = {e.check for e in case.primaries}
    families = case.policy.primaries.get(case.plan.request, {})
    return [
        Reason(kind="not planned", sentence=f"{' or '.join(names)}: a primary check of this request is not in the plan")
        for names in families.values()
        if not set(names) & planned
    ]


def _primary_obstacle(case: Case, e: Evidence) -> list[Reason]:
    bars = case.policy.thresholds
    # Another machine may read ρ by the tolerance higher: a limit that near to a threshold clears nothing.
    deleted, over = bars.deleted * e.shows - bars.tolerance, -bars.over + bars.tolerance
    if e.failure is not None:
        return [could_not_run(e)]
    # A policy of its own may name any check: one that may not clear was never asked to see through a decoy.
    if e.may != "clear":
        return [reason("no power", e, "it may accuse and never clears, so that it is no primary check")]
    if not e.powered or e.rho is None:
        return [reason("no power", e, f"no power to clear: {e.powerless_because}")]
    if e.rho.high >= deleted:
        return [measured("upper limit too high", e, f"its upper limit does not lie below {deleted:.3g}{of_shown(e)}")]
    # Concepts differ from one another far more than models do: a wide null of controls must not hide what the
    # references would show (docs/verdict.md, goal concept).
    if e.rho_by_references is not None and e.rho_by_references.high >= deleted:
        words = f"its upper limit does not lie below {deleted:.3g}{of_shown(e)}"
        return [reason("upper limit too high", e, f"ρ = {show(e.rho_by_references)} against the references, {words}")]
    if e.rho.low <= over:
        return [measured("lower limit too low", e, f"its lower limit does not lie above {over:g}")]
    return []


def _beside_the_primaries(case: Case) -> list[Reason]:
    """What other checks found, or could have found, and what all of them found too little of to accuse."""
    bars = case.policy.thresholds
    found = []
    for e in case.bounding:
        deleted = bars.deleted * e.shows - bars.tolerance
        if not e.primary and e.rho is not None and e.rho.high >= deleted:
            words = f"its upper limit does not lie below {deleted:.3g}{of_shown(e)}, and it resolves {e.resolution:.2f}"
            found.append(measured("upper limit too high", e, words))
    found += [
        could_not_run(e, ": DELETED says that no check recovered anything")
        for e in case.evidence
        if e.failure is not None and not e.primary
    ]
    return found + _kept_items(case) + _traces(case) + _deficits(case)


def _kept_items(case: Case) -> list[Reason]:
    """Single items that stand out as kept ones do, or, for listed samples, too small a holdout to see any."""
    found = []
    for e in case.evidence:
        if e.items is None:
            continue
        # A list of samples is about single items, so the test has to be able to see a few. For a class or facts a
        # small holdout will do, and the report says how many kept items could have been seen.
        if case.plan.request == "sample" and (lack := holdout_lack(e.items.n_forget, e.items.n_holdout)):
            found.append(reason("holdout too small", e, lack))
        if e.items.p_value < case.policy.alpha.items:
            words = f"single items were kept: {standing_out(e.items, case.policy.alpha.items)}"
            found.append(reason("items kept", e, words))
    return found


def _traces(case: Case) -> list[Reason]:
    """Checks that found something, too little to accuse: DELETED says that none recovered any."""
    # A primary with an obstacle of its own has been named already.
    unclear = {e.check for e in case.primaries if _primary_obstacle(case, e)}
    found = case.rejecting({e.check: e.p_trace for e in case.evidence}, outputs=True) - unclear
    return [
        measured("trace", e, "above 0 by more than chance: some of it was recovered, too little to accuse")
        for e in case.evidence
        if e.check in found
    ]


def _deficits(case: Case) -> list[Reason]:
    """Candidates for a primary that found less than in models that never saw the forget set: no retrain does.

    Those that were not chosen, too: an unlearner who presses on one probe shows there, whichever resolves better.
    """
    candidates = {name for names in case.policy.primaries.get(case.plan.request, {}).values() for name in names}
    asked = [e for e in case.evidence if e.check in candidates]
    # 1 rejects nothing and keeps the check in its family: leaving it out would raise the level of the others.
    p_values = {e.check: 1.0 if e.p_deficit is None else e.p_deficit for e in asked}
    found = holm(p_values, case.policy.alpha.deficit)
    return [
        measured(
            "deficit",
            e,
            "below 0 by more than chance: less than models show that never saw it, which is what training against "
            "this very check brings about",
        )
        for e in asked
        if e.check in found
    ]


def _decoy_obstacles(case: Case) -> list[Reason]:
    # A way to suppress that no primary sees through would be called deleted.
    unseen = [
        Reason(kind="decoy not seen through", sentence=f"the decoy {decoy} was seen through by no primary check")
        for decoy in sorted({d for e in case.primaries for d in e.decoys})
        if not any(e.decoys[decoy].detected for e in case.primaries if decoy in e.decoys)
    ]
    return _unsuppressed_decoys(case) + unseen


def _unsuppressed_decoys(case: Case) -> list[Reason]:
    """Checks that saw no more of a decoy than its outputs give away: that shows nothing of what lies behind outputs."""
    assert case.outputs is not None, "the rule on outputs comes first"
    found = []
    for e in case.primaries:
        for name in e.assigned_decoys:
            shown, seen = case.outputs.decoys.get(name), e.decoys.get(name)
            # A decoy that was missed has cost the check its power already.
            if shown is None or seen is None or not seen.detected:
                continue
            # Limit against limit: only what surely lies above the outputs was read behind them.
            if shown.rho is None or seen.rho is None or seen.rho.low <= shown.rho.high:
                words = (
                    f"it found no more in the decoy {name} (ρ = {show(seen.rho)}) than its outputs still show "
                    f"(ρ = {show(shown.rho)}), so that seeing through it shows nothing"
                )
                found.append(reason("decoy not suppressed", e, words))
    return found
