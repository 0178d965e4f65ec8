"""Which roads to a verdict are open and what each would bring: nothing here looks at the unlearned model.

Beforehand the gap between what the original was taught and what it was not is unknown, so the plan says what would
follow from three of them. Once the original is scored it is known, and so is what each road resolves.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from auditor.checks.check import AnyCheck
from auditor.inference import statistics
from auditor.inference.assurance import SUBJECTS_FOR_A3R
from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores, Null
from auditor.inference.nulls import holdout, references
from auditor.inference.roads import gap_of, pass_by_holdout, pass_by_references, resolution_of, subjects_needed
from auditor.inference.statistics import Clearing, Spread
from auditor.records.plan import Plan, PlannedAssignment
from auditor.records.policy import Policy
from auditor.records.road import Road
from auditor.records.score import Failure, Score
from auditor.run.runner import Scores, Work

# Between original and references, in spreads of the references (docs/verdict.md).
GAPS = (8.6, 10.0, 15.0)
# Between forget and holdout subjects of the original, in spreads between subjects: in the median of the audits behind
# docs/validity.md they are 3 (few_shot) to 15 (relearning), and memorised facts of a large model may lie lower.
SUBJECT_GAPS = (1.5, 3.0, 6.0)
# Of a model that saw neither side it is assumed that it predicts half of the variance between subjects.
_HELP = math.sqrt(2)
RECOMMENDED = 5


def clearing_of(policy: Policy) -> Clearing:
    """What a primary has to meet under a policy."""
    bars, alpha = policy.thresholds, policy.alpha
    return Clearing(
        deleted=bars.deleted, over=bars.over, trace=alpha.primaries, deficit=alpha.deficit, tolerance=bars.tolerance
    )


def assumed(
    divided: PlannedAssignment, policy: Policy, n_primaries: int, n_references: int, n_neither: int
) -> tuple[Road, ...]:
    """Both roads before anything is scored, each at three gaps.

    Args:
        divided: how many subjects stand on either side.
        policy: what has to be met.
        n_primaries: that have to clear together.
        n_references: there are; without them, the recommended number is assumed.
        n_neither: models of any recipe that saw neither side there are; without any, one is assumed.
    """
    n, m, clearing, wanted = (
        divided.n_forget,
        divided.n_holdout,
        clearing_of(policy),
        policy.thresholds.sharp_resolution,
    )
    k = n_references if n_references > 1 else RECOMMENDED
    helps = [(0, 1.0)] if divided.by_chance else []
    helps.append((max(n_references + n_neither, 1), _HELP))
    # Two holdout subjects leave a spread and nothing to test it in.
    gaps = SUBJECT_GAPS if min(n, m) >= holdout.FEWEST_FOR_A_SLOPE else ()
    return (
        *(
            Road(
                null="holdout",
                models=models,
                basis="assumed",
                gap=gap,
                resolution=resolution_of(share * gap, n, m, helped=models > 0),
                pass_probability=pass_by_holdout(n, m, [share * gap] * n_primaries, clearing, helped=models > 0),
                subjects_needed=_subjects(share * gap, wanted),
            )
            for models, share in helps
            for gap in gaps
        ),
        *(
            Road(
                null="references",
                models=k,
                basis="assumed",
                gap=gap,
                resolution=statistics.resolution(gap, Spread(value=1.0, degrees=k - 1, n_references=k)),
                pass_probability=statistics.pass_probability(k, gap, n_primaries=n_primaries, clearing=clearing),
            )
            for gap in GAPS
        ),
    )


def _subjects(gap: float, wanted: float) -> int | None:
    needed = subjects_needed(gap, wanted)
    # However wide the gap, fewer clear nothing.
    return None if needed is None else max(needed, SUBJECTS_FOR_A3R)


def stored(work: Work) -> tuple[Road, ...]:
    """The roads as :func:`measured`, from scores that lie in the store already; none where some are missing."""
    wanted = {"original", "reference", "perturbed", "neither"}
    scores: Scores = {}
    for check, planned in zip(work.checks, work.plan.checks, strict=True):
        units = [work.unit(model, planned) for model in work.plan.models if model.role in wanted]
        found = {unit.model.name: score for unit in units if (score := work.stored(unit)) is not None}
        if planned.primary_for and len(found) == len(units):
            scores[check.name] = dict(found)
    return measured(work.plan, work.checks, scores)


def measured(
    plan: Plan, checks: Sequence[AnyCheck], scores: Mapping[str, Mapping[str, Score | Failure]]
) -> tuple[Road, ...]:
    """Every road that scores exist for, where chance held subjects out.

    Args:
        plan: with line-up and policy.
        checks: of the plan.
        scores: by check and model; those of the unlearned model are not looked at.
    """
    if plan.assignment is None:
        return ()
    lineups = {check: lineup for check in checks if (lineup := _lineup(plan, scores.get(check.name, {}))) is not None}
    alone = {c: replace(each, references={}, neither={}, perturbed={}) for c, each in lineups.items()}
    # A declaration alone opens no road.
    found = [_by_holdout(plan, alone, 0)] if plan.assignment.by_chance else []
    innocent = len(plan.models_of("reference")) + len(plan.models_of("neither"))
    if innocent:
        found.append(_by_holdout(plan, lineups, innocent))
    if (k := len(plan.models_of("reference"))) > 1:
        found.append(_by_references(plan, lineups, k))
    return tuple(road for road in found if road is not None)


def _lineup(plan: Plan, scores: Mapping[str, Score | Failure]) -> CheckScores | None:
    """One check's scores of every model but the unlearned one and the decoys; None where one is missing."""
    roles = ("original", "reference", "perturbed", "neither")
    by_role: dict[str, dict[str, Score]] = {role: {} for role in roles}
    for model in plan.models:
        if model.role in roles:
            score = scores.get(model.name)
            if not isinstance(score, Score):
                return None
            by_role[model.role][model.name] = score
    original = by_role["original"]["original"]
    return CheckScores(
        original=original,
        # Nothing that is read here depends on the subject; the original keeps its seat.
        unlearned=original,
        references=by_role["reference"],
        drawn={},
        perturbed=by_role["perturbed"],
        decoys={},
        neither=by_role["neither"],
    )


def _by_holdout(plan: Plan, scores: Mapping[AnyCheck, CheckScores], models: int) -> Road | None:
    divided = plan.assignment
    assert divided is not None, "asked before"
    # A declared road takes all of the reference off, and estimates no slope.
    n, m, helped = divided.n_forget, divided.n_holdout, models > 0 and divided.by_chance
    if min(n, m) < holdout.FEWEST_FOR_A_SLOPE:
        return None
    resolutions = dict(_finest(plan, scores, holdout))
    gaps = [gap_of(w, n, m, helped=helped) for w in resolutions.values()]
    chance = pass_by_holdout(n, m, gaps, clearing_of(plan.policy), helped=helped)
    return _road(plan, "holdout", models, resolutions, chance)


def _by_references(plan: Plan, scores: Mapping[AnyCheck, CheckScores], k: int) -> Road | None:
    resolutions = dict(_finest(plan, scores, references))
    unit = statistics.resolution(1.0, Spread(value=1.0, degrees=k - 1, n_references=k))
    assert unit is not None, "of a gap above 0"
    chance = pass_by_references(k, [unit / w for w in resolutions.values()], clearing_of(plan.policy))
    return _road(plan, "references", k, resolutions, chance)


def _finest(plan: Plan, scores: Mapping[AnyCheck, CheckScores], null: Null) -> Iterator[tuple[str, float]]:
    """By family of the policy the candidate with the smallest w, and w; a family without one is left out."""
    for names in plan.policy.primaries.get(plan.request, {}).values():
        found = {
            check.name: w
            for check, lineup in scores.items()
            if check.name in names and (w := _resolution(plan, check, lineup, null)) is not None
        }
        if found:
            yield min(found.items(), key=lambda item: item[1])


def _resolution(plan: Plan, check: AnyCheck, scores: CheckScores, null: Null) -> float | None:
    divided = plan.assignment if null.KIND == "holdout" else None
    evidence = combine(check, scores, plan.policy, [null], population=False, goal=plan.goal, assignment=divided)
    return evidence.resolution


def _road(plan: Plan, null: str, models: int, resolutions: dict[str, float], chance: float) -> Road | None:
    if not resolutions:
        return None
    # A family that resolves nothing is a primary that cannot clear.
    whole = len(resolutions) == len(plan.policy.primaries.get(plan.request, {}))
    return Road(
        null="holdout" if null == "holdout" else "references",
        models=models,
        basis="measured",
        resolutions=resolutions,
        resolution=max(resolutions.values()) if whole else None,
        pass_probability=chance if whole else 0.0,
    )
