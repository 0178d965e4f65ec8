"""Recovery as a function of the attacker's budget: how much of the original's knowledge an effort brings back.

Effort is training steps times examples per step: forget examples a class (or a subject) where the attacker has some, in
domain, and retain examples where he has none, out of domain. Drawn beside the score; it decides nothing.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor

from auditor.attacks.relearning.drawn import DrawnAttack
from auditor.records.base import Row
from auditor.records.score import Score

OUT_OF_DOMAIN = "retain alone"
BUDGET = "budget"
"""Value of the column ``figure`` of these rows."""
_BINS = 6
# In spreads of the references: below it ρ is a ratio of noise. The references' own curves show how much of it there is.
_LEAST_GAP = 2.0

Courses = dict[str, dict[tuple[float, str], float]]


def course_row(arm: str, number: int, attack: DrawnAttack, examples: int, step: int, value: float) -> Row:
    """One point of one attack's course, with everything that says what attack it was.

    Args:
        arm: from which the attack started, or what it trained on.
        number: of the attack among the audit's.
        attack: as drawn.
        examples: per step, by which the effort is counted.
        step: after which it was measured.
        value: mean probability on the measured examples.
    """
    name = f"attack {number}"
    return {"arm": arm, "attack": name, "step": step, "effort": step * examples, "value": value, **attack.row()}


def course_rows(
    arm: str, number: int, attack: DrawnAttack, examples: int, steps: Sequence[int], curve: Tensor
) -> list[Row]:
    """The whole course of one attack: :func:`course_row` for each of ``steps``, after which it was measured.

    ``curve`` has what was measured on each example then, float64 [measured steps, n].
    """
    points = zip(steps, curve, strict=True)
    return [course_row(arm, number, attack, examples, step, float(values.mean())) for step, values in points]


def budget_rows(scores: Mapping[str, Score], references: Sequence[str], arms: Sequence[str]) -> list[Row]:
    """ρ of every model by domain and effort; none without two references.

    Efforts are put into bins of equal width on a logarithmic scale; each bin stands at its largest effort. ρ is that of
    the arm in which the model shows more; arms are left out where the original stands too few spreads above the
    references, since there nothing tells one from the other. A reference is held against the mean of all.

    Args:
        scores: of every model, by name; ``original`` among them.
        references: names of the counted references.
        arms: those of an attacker who has forget examples.
    """
    rows: list[Row] = []
    for domain, names in (("in domain", tuple(arms)), ("out of domain", (OUT_OF_DOMAIN,))):
        courses = {model: _courses(score, names) for model, score in scores.items()}
        # The original's efforts are everyone's: all models meet the same attacks.
        efforts = sorted({effort for arm in courses["original"].values() for effort, _ in arm})
        for low, high in _bins(efforts):
            found = _rho(courses, references, low, high, 1 / scores["original"].n_examples)
            rows += [
                {"figure": BUDGET, "model": model, "domain": domain, "effort": high, "rho": rho}
                for model, rho in found.items()
            ]
    return rows


def _courses(score: Score, arms: Sequence[str]) -> Courses:
    """By arm: what was measured, by effort and attack."""
    found: Courses = {}
    for cell in score.rows:
        if cell.get("arm") in arms:
            key = (float(cell["effort"] or 0), str(cell["attack"]))
            found.setdefault(str(cell["arm"]), {})[key] = float(cell["value"] or 0)
    return found


def _bins(efforts: Sequence[float]) -> Iterator[tuple[float, float]]:
    """(lower end, largest effort of it) of each bin that holds any."""
    if not efforts:
        return
    edges = np.geomspace(efforts[0], efforts[-1], _BINS + 1)[1:-1]
    place = np.searchsorted(edges, efforts)
    low = 0.0
    for bin_ in sorted(set(place.tolist())):
        # At its largest effort, so that the figure never claims recovery for less than was spent.
        high = max(effort for effort, at in zip(efforts, place, strict=True) if at == bin_)
        yield low, high
        low = high


def _rho(
    courses: Mapping[str, Courses], references: Sequence[str], low: float, high: float, floor: float
) -> dict[str, float]:
    """Of every model in one bin, by the arm in which it shows more; empty where no arm has a gap."""
    found: dict[str, float] = {}
    for arm in courses["original"]:
        mean = {model: _mean(own[arm], low, high) for model, own in courses.items() if arm in own}
        null = [value for model in references if (value := mean[model]) is not None]
        own = mean["original"]
        if own is None or len(null) < 2:
            continue
        delta = own - float(np.mean(null))
        # References that agree by luck are not believed closer than one example in n.
        if delta < _LEAST_GAP * max(float(np.std(null, ddof=1)), floor):
            continue
        for model, value in mean.items():
            if value is not None:
                rho = (value - float(np.mean(null))) / delta
                found[model] = max(rho, found.get(model, rho))
    return found


def _mean(course: Mapping[tuple[float, str], float], low: float, high: float) -> float | None:
    """Over what was measured at efforts in (low, high]."""
    inside = [value for (effort, _), value in course.items() if low < effort <= high]
    return float(np.mean(inside)) if inside else None
