"""The verdict: a pure function of plan, evidence and policy. No model, no clock, no randomness."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from auditor.plan import Plan
from auditor.policy import Policy
from auditor.scores import Assurance, Evidence, Flag, Interval, Outcome, Verdict
from auditor.statistics import holm
from auditor.top_items import holdout_lack, standing_out

REFERENCES_FOR_A3 = 4
REFERENCES_FOR_A3_CALIBRATED = 3


@dataclass(frozen=True)
class _Case:
    """Everything the rules look at."""

    plan: Plan
    evidence: tuple[Evidence, ...]
    assurance: Assurance
    recipe_mismatch: str | None

    @property
    def policy(self) -> Policy:
        return self.plan.policy

    @property
    def outputs(self) -> Evidence | None:
        return next((e for e in self.evidence if e.check == "outputs"), None)

    @property
    def able(self) -> list[Evidence]:
        """What may accuse, the outputs apart: they have a rule of their own."""
        return [e for e in self.evidence if e.may != "inform" and e.check != "outputs"]

    @property
    def primaries(self) -> list[Evidence]:
        return [e for e in self.evidence if e.primary]


def decide(plan: Plan, evidence: Sequence[Evidence], recipe_mismatch: str | None = None) -> Verdict:
    """Apply the rules of the design, in order.

    Args:
        plan: with the policy and the line-up.
        evidence: one for every planned check.
        recipe_mismatch: why the references do not count, where they do not.
    """
    case = _Case(plan, tuple(evidence), assurance_level(plan, recipe_mismatch), recipe_mismatch)
    damaged = _damage(case)
    over = _over_unlearned(case)
    flags: list[Flag] = ["DAMAGED"] if damaged else []
    flags += ["OVER_UNLEARNED"] if over else []
    outcome, reasons = _outcome(case, bool(damaged))
    bound = _bound(case) if outcome == "DELETED" else None
    mismatch = [recipe_mismatch] if recipe_mismatch else []
    return Verdict(
        outcome=outcome,
        bound=bound,
        flags=tuple(flags),
        assurance=case.assurance,
        reasons=tuple([*reasons, *damaged, *over, *mismatch]),
        to_settle=_to_settle(case) if outcome == "INCONCLUSIVE" else (),
    )


def assurance_level(plan: Plan, recipe_mismatch: str | None = None) -> Assurance:
    """A3 to A0, from what the null is made of."""
    k = 0 if recipe_mismatch else len(plan.models_of("reference"))
    inside = _spread_is_known(plan)
    if k >= (REFERENCES_FOR_A3_CALIBRATED if inside else REFERENCES_FOR_A3):
        return "A3"
    if k >= (1 if inside else 2):
        return "A2"
    if any(item.name in ("holdout", "control") for item in plan.data):
        return "A1"
    return "A0"


def _spread_is_known(plan: Plan) -> bool:
    """Whether calibration lends this audit a spread, so that fewer references will do."""
    return plan.domain is not None and bool(plan.domain.spread)


def recipe_mismatch(plan: Plan, outputs: Evidence | None) -> str | None:
    """Why the references cannot stand for a retrained model, or None.

    They count only if their retain accuracy brackets the subject's within τ_retain. A subject *below* them is
    damaged, which is the verdict's business; one *above* them was trained better than they were.
    """
    if outputs is None or outputs.utility is None or not outputs.utility.references:
        return None
    best = max(outputs.utility.references.values())
    subject = outputs.utility.unlearned
    if subject <= best + plan.policy.thresholds.retain:
        return None
    return (
        f"the references' recipe does not match: the unlearned model keeps {_percent(subject)} on retain, "
        f"the best reference only {_percent(best)}; train references as long as the original"
    )


def _outcome(case: _Case, damaged: bool) -> tuple[Outcome, list[str]]:
    bars = case.policy.thresholds
    outputs = case.outputs
    if outputs is None or outputs.rho is None:
        return "INCONCLUSIVE", [*_conclusive(case), _why_no_outputs(outputs), *_primary_obstacles(case)]
    if damaged and _wrecked(case) and not _conclusive(case):
        return "INCONCLUSIVE", ["the model no longer works: nothing that it gives can be put down to knowledge"]
    if outputs.rho.low - bars.tolerance > bars.output:
        return "NOT_FORGOTTEN", [_sentence(outputs, f"above {bars.output:g}: the outputs still show the knowledge")]
    if outputs.rho.high + bars.tolerance >= bars.output:
        return "INCONCLUSIVE", [
            *_conclusive(case),
            _sentence(outputs, f"straddles {bars.output:g}: the outputs are neither clearly forgotten nor not")
            + _limit_of_outputs(outputs, bars.output),
            *_primary_obstacles(case),
        ]
    accusers = _accusers(case, damaged)
    if accusers or _conclusive(case):
        return "SUPPRESSED", [*_conclusive(case), *accusers]
    obstacles = _obstacles(case, damaged)
    if obstacles:
        return "INCONCLUSIVE", obstacles
    return "DELETED", [
        _sentence(outputs, f"below {bars.output:g}: the outputs are forgotten"),
        *[_sentence(e, f"below {bars.deleted:g}, with resolution {e.resolution:.2f}") for e in case.primaries],
        *_unseen_items(case),
    ]


def _limit_of_outputs(outputs: Evidence, bar: float) -> str:
    if outputs.resolution is None or outputs.resolution <= bar:
        return ""
    return f", since the smallest residue they can show is {outputs.resolution:.2f} with these examples and references"


def _accusers(case: _Case, damaged: bool) -> list[str]:
    """Sentences of the checks that reject ρ ≤ τ_suppressed, primaries and others each under their own Holm."""
    if damaged and _wrecked(case):
        return []
    rejected = _rejecting(case, {e.check: e.p_value for e in case.evidence})
    return [
        _sentence(e, f"above {case.policy.thresholds.suppressed:g}")
        for e in case.evidence
        if e.check in rejected and not (damaged and e.family == "tampering")
    ]


def _rejecting(case: _Case, p_values: Mapping[str, float | None]) -> set[str]:
    """Checks whose p-value survives Holm, over the primaries and over all others apart."""
    rejected: set[str] = set()
    for primary, alpha in ((True, case.policy.alpha.primaries), (False, case.policy.alpha.others)):
        # A check without a p-value stays in the family: it was planned, and leaving it out would raise alpha.
        family = {e.check: 1.0 if (p := p_values[e.check]) is None else p for e in case.able if e.primary == primary}
        rejected |= holm(family, alpha)
    return rejected


def _wrecked(case: _Case) -> bool:
    """Whether the subject is no longer a working model, by the bar the original has to pass.

    The references say what a *trained* model without the knowledge would score. What is left of a wreck is held
    against nothing: a random initialisation, which never knew anything, has features that score above them, and one in
    seven named the forgotten class more often on forget than on retain examples.
    """
    if case.outputs is None or case.outputs.utility is None:
        return False
    return case.outputs.utility.unlearned < case.policy.thresholds.working_accuracy(case.plan.n_classes)


def _conclusive(case: _Case) -> list[str]:
    return [f"{e.check}: {e.conclusive}" for e in case.evidence if e.conclusive]


def _obstacles(case: _Case, damaged: bool) -> list[str]:
    """Why DELETED is not given; empty when it is."""
    found = []
    if damaged:
        found.append("the model is damaged: forgetting by breaking is no deletion")
    if case.assurance in ("A0", "A1") or (case.assurance == "A2" and not _spread_is_known(case.plan)):
        found.append(f"assurance {case.assurance}: too few references for DELETED")
    if case.plan.goal == "concept" and not any(e.null_kind == "controls" for e in case.primaries):
        found.append(
            "goal concept: no primary check was held against never-trained control concepts; ten or more are needed "
            "as the null (data.control)"
        )
    wanted = case.policy.primaries.get(case.plan.request, ())
    present = {e.check for e in case.primaries}
    found += [f"{name}: a primary check of this request is not in the plan" for name in wanted if name not in present]
    unclear = [(e.check, _primary_obstacle(case, e)) for e in case.primaries]
    found += [sentence for _, sentences in unclear for sentence in sentences]
    found += _kept_items(case)
    found += _traces(case, but={name for name, sentences in unclear if sentences})
    found += [
        f"{e.check}: could not run ({e.failure.reason}): DELETED says that no check recovered anything"
        for e in case.evidence
        if e.failure is not None and not e.primary
    ]
    found += _sham_decoys(case)
    found += [
        f"the decoy {decoy} was seen through by no primary check"
        for decoy in sorted({d for e in case.primaries for d in e.decoys})
        if not any(e.decoys[decoy].detected for e in case.primaries if decoy in e.decoys)
    ]
    return found


def _sham_decoys(case: _Case) -> list[str]:
    """Checks that saw no more of a decoy than its outputs give away: that shows nothing of what lies behind outputs."""
    assert case.outputs is not None, "asked before"
    found = []
    for e in case.primaries:
        for name in e.assigned_decoys:
            shown, seen = case.outputs.decoys.get(name), e.decoys.get(name)
            if shown is None or seen is None or not seen.detected:
                continue
            if shown.rho is None or seen.rho is None or seen.rho.low <= shown.rho.high:
                found.append(
                    f"{e.check}: it found no more in the decoy {name} (ρ = {_show(seen.rho)}) than its outputs still "
                    f"show (ρ = {_show(shown.rho)}), so that seeing through it shows nothing"
                )
    return found


def _kept_items(case: _Case) -> list[str]:
    """Single items that stand out as kept ones do, or, for listed samples, too small a holdout to see any."""
    found = []
    for e in case.evidence:
        if e.items is None:
            continue
        if case.plan.request == "sample" and (lack := holdout_lack(e.items.n_forget, e.items.n_holdout)):
            found.append(f"{e.check}: {lack}")
        if e.items.p_value < case.policy.alpha.items:
            found.append(f"{e.check}: single items were kept: {standing_out(e.items, case.policy.alpha.items)}")
    return found


def _unseen_items(case: _Case) -> list[str]:
    """How many kept samples a deletion of listed samples would not have been told from."""
    if case.plan.request != "sample":
        return []
    return [
        f"{e.check}: {e.items.smallest_visible} kept examples of {e.items.n_forget} would have been seen where they "
        "stand above all others, fewer not"
        for e in case.evidence
        if e.items is not None and e.items.smallest_visible is not None and e.items.smallest_visible > 1
    ]


def _traces(case: _Case, but: set[str]) -> list[str]:
    """Checks that found something, too little to accuse: DELETED says that none recovered any."""
    found = _rejecting(case, {e.check: e.p_trace for e in case.evidence}) - but
    return [
        _sentence(e, "above 0 by more than chance: some of it was recovered, too little to accuse")
        for e in case.evidence
        if e.check in found
    ]


def _primary_obstacles(case: _Case) -> list[str]:
    return [sentence for e in case.primaries for sentence in _primary_obstacle(case, e)]


def _primary_obstacle(case: _Case, e: Evidence) -> list[str]:
    bars = case.policy.thresholds
    deleted, over = bars.deleted - bars.tolerance, -bars.over + bars.tolerance
    if e.failure is not None:
        return [f"{e.check}: could not run ({e.failure.reason})"]
    if not e.powered or e.rho is None:
        return [f"{e.check}: no power to clear: {e.powerless_because}"]
    if e.rho.high >= deleted:
        return [_sentence(e, f"its upper limit does not lie below {deleted:g}")]
    if e.rho_by_references is not None and e.rho_by_references.high >= deleted:
        return [
            f"{e.check}: ρ = {_show(e.rho_by_references)} against the references, "
            f"its upper limit does not lie below {deleted:g}"
        ]
    if e.rho.low <= over:
        return [_sentence(e, f"its lower limit does not lie above {over:g}")]
    return []


def _damage(case: _Case) -> list[str]:
    outputs = case.outputs
    if outputs is None or outputs.utility is None:
        return []
    utility = outputs.utility
    counted = utility.references if not case.recipe_mismatch else {}
    floor, whose = (min(counted.values()), "the lowest reference") if counted else (utility.original, "the original")
    if utility.unlearned >= floor - case.policy.thresholds.retain:
        return []
    return [
        f"DAMAGED: retain accuracy {_percent(utility.unlearned)}, {whose} {_percent(floor)}: "
        "the model lost what it should have kept"
    ]


def _over_unlearned(case: _Case) -> list[str]:
    bar = -case.policy.thresholds.over
    return [
        "OVER_UNLEARNED: " + _sentence(e, f"below {bar:g}: less known than to models that never saw it, itself a leak")
        for e in case.primaries
        if e.rho is not None and e.powered and e.rho.high < bar
    ]


def _bound(case: _Case) -> float:
    return max(max(e.rho.high for e in case.primaries if e.rho is not None), 0.0)


def _to_settle(case: _Case) -> tuple[str, ...]:
    wishes = list(case.plan.prospect.obstacles)
    for e in case.primaries:
        if e.resolution is not None and e.resolution > case.policy.thresholds.max_resolution:
            wishes.append(
                f"more references or more forget examples, so that {e.check} resolves less than {e.resolution:.2f}"
            )
    wishes += [f"mend {e.check}: {e.failure.reason}" for e in case.evidence if e.failure is not None]
    if case.recipe_mismatch:
        wishes.append("references trained by the original's recipe")
    return tuple(dict.fromkeys(wishes)) or ("another candidate: this one lies between the bars",)


def _why_no_outputs(outputs: Evidence | None) -> str:
    if outputs is None:
        return "outputs: not measured, so nothing says whether the outputs are forgotten"
    if outputs.failure is not None:
        return f"outputs: could not run ({outputs.failure.reason})"
    return f"outputs: no interval: {outputs.powerless_because}"


def _sentence(e: Evidence, ending: str) -> str:
    return f"{e.check}: ρ = {_show(e.rho)}, {ending}"


def _show(rho: Interval | None) -> str:
    return "not measured" if rho is None else f"{rho.value:.2f} [{rho.low:.2f}, {rho.high:.2f}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
