"""The roads side by side before anything is scored, as originals have them that were measured elsewhere.

The gaps of :func:`auditor.run.roads.assumed` are in units of each road's own spread, so that one road's sentence cannot
be held against another's. Here every road has the gaps that it showed on the models of docs/validity.md.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median
from typing import Literal

from auditor.inference import statistics
from auditor.inference.assurance import SUBJECTS_FOR_A3R
from auditor.inference.measured_gaps import MEASURED, Gaps, MeasuredGaps
from auditor.inference.nulls.holdout import FEWEST_FOR_A_SLOPE
from auditor.inference.roads import pass_by_holdout, pass_by_references, resolution_of
from auditor.inference.statistics import Clearing, Spread
from auditor.inference.top_items import HOLDOUT_PER_FORGET
from auditor.records.plan import Plan, PlannedAssignment
from auditor.records.prospect import Prospect, Prospects, Range
from auditor.run.roads import RECOMMENDED, clearing_of

# From the gaps of all primaries to the coarsest w, and how likely a true deletion is to pass all of them.
Outlook = Callable[[Sequence[float]], tuple[float, float]]


def prospects(plan: Plan) -> Prospects | None:
    """Each road's resolution and chance; None for a request that has no road of the holdout.

    Where nobody divided the subjects, it is said what a draw of as many as a deletion asks for would have brought.
    """
    measured = MEASURED.get(plan.request)
    # Under goal concept the null is made of control concepts, and neither road leads anywhere.
    if measured is None or plan.goal == "concept":
        return None
    divided = plan.assignment or _fewest(plan.request)
    found = tuple(_found(plan, divided, measured))
    return Prospects(about=measured.about, divided=divided, found=found) if found else None


def _fewest(request: str) -> PlannedAssignment:
    times = HOLDOUT_PER_FORGET if request == "sample" else 1
    return PlannedAssignment(kind="random", n_forget=SUBJECTS_FOR_A3R, n_holdout=times * SUBJECTS_FOR_A3R)


def _found(plan: Plan, divided: PlannedAssignment, measured: MeasuredGaps) -> Iterator[Prospect]:
    clearing, n, m = clearing_of(plan.policy), divided.n_forget, divided.n_holdout
    k = len(plan.models_of("reference"))
    # What a declaration takes off the scores, and adds to the limits, was measured on no original.
    if divided.by_chance and min(n, m) >= FEWEST_FOR_A_SLOPE:
        innocent = max(k + len(plan.models_of("neither")), 1)
        for models, originals in ((0, measured.alone), (innocent, measured.helped)):
            outlook = partial(_by_holdout, n, m, clearing, models > 0)
            yield from _road(plan, "holdout", models, originals, outlook)
    k = k if k > 1 else RECOMMENDED
    yield from _road(plan, "references", k, measured.references, partial(_by_references, k, clearing))


def _road(
    plan: Plan, null: Literal["holdout", "references"], models: int, originals: Sequence[Gaps], outlook: Outlook
) -> Iterator[Prospect]:
    """One road, over the originals that it was measured on; none where a family has no check in the plan."""
    primaries = [_finest(plan, gaps) for gaps in originals]
    if all(primaries):
        w, chance = zip(*map(outlook, primaries), strict=True)
        yield Prospect(
            null=null,
            models=models,
            originals=len(originals),
            resolution=_range(w),
            pass_probability=_range(chance),
        )


def _finest(plan: Plan, gaps: Gaps) -> list[float]:
    """The widest gap of each family's planned candidates; empty where a family has none."""
    planned = {check.name for check in plan.checks}
    families = plan.policy.primaries.get(plan.request, {}).values()
    found = [[gaps[name] for name in names if name in gaps and name in planned] for names in families]
    return list(map(max, found)) if all(found) else []


def _by_holdout(n: int, m: int, clearing: Clearing, helped: bool, gaps: Sequence[float]) -> tuple[float, float]:
    return resolution_of(min(gaps), n, m, helped=helped), pass_by_holdout(n, m, gaps, clearing, helped=helped)


def _by_references(k: int, clearing: Clearing, gaps: Sequence[float]) -> tuple[float, float]:
    w = statistics.resolution(min(gaps), Spread(value=1.0, degrees=k - 1, n_references=k))
    assert w is not None, "of a gap above 0"
    return w, pass_by_references(k, gaps, clearing)


def _range(values: Sequence[float]) -> Range:
    return Range(median=median(values), low=min(values), high=max(values))
