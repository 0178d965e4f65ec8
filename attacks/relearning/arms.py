"""From the readings of several attacks in two arms to one score: which arms count, and what one is worth.

Pure functions on scores. Readings are named ``arm, attack i, step s`` and carry the same number on attack examples
that are never trained on (``choice``), by which original and references choose.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.attacks.relearning.attack_validity import did_not_take, taught_name
from auditor.records.score import Reading, Score

Array = NDArray[np.float64]

AS_IS, ROW_RESET = "as is", "row reset"
# In spreads of the references. With five of them it resolves a residue of .31.
_LEAST_GAP = 7.5
# A row that was reset opens in every network before long.
_COURSE = {AS_IS: 1.0, ROW_RESET: 0.5}


def reading_name(arm: str, attack: int, step: int) -> str:
    """Of one arm after one step of one attack."""
    return f"{arm}, attack {attack}, step {step}"


def rescale(original: Score, references: Sequence[Score]) -> Callable[[Score], Score]:
    """Bring the arms to one scale, take the larger, and say of a model that the attack did not take.

    Args:
        original: its score.
        references: theirs.
    """
    arms = _counted_arms(original, references)
    if not arms:
        return _unscaled
    # By identity: another model may carry the same numbers and is no reference.
    found = {id(score): row for score, row in zip(references, _reference_rows(arms, references), strict=True)}

    def one(score: Score) -> Score:
        row = found.get(id(score))
        return _settled(score, arms, references) if row is None else _as_settled(score, arms, row)

    return one


@dataclass(frozen=True, kw_only=True)
class _Arm:
    """One arm, by the mean over its attacks and measured steps.

    Attributes:
        name: ``as is`` or ``row reset``.
        readings: names of the readings averaged.
        references: their scores.
        delta: Δ, how far the original stands above their mean on the eval half; > 0.
        gap: in spreads of the references, on the attack half.
    """

    name: str
    readings: tuple[str, ...]
    references: Sequence[Score]
    delta: float
    gap: float

    def of(self, score: Score, but: Score | None = None) -> Array:
        """ρ of one model by this arm alone, per example, float64 [n]; ``but`` one reference, which the null omits."""
        own = np.mean([score.readings[name].examples for name in self.readings], axis=0)
        null = np.mean([_mean_value(other, self.readings) for other in self.references if other is not but])
        return np.asarray((own - null) / self.delta)


def _counted_arms(original: Score, references: Sequence[Score]) -> list[_Arm]:
    """The arms that make up T, widest gap first; none without two references or a gap."""
    if len(references) < 2:
        return []
    found = [_arm(name, original, references) for name in (AS_IS, ROW_RESET)]
    arms = sorted([arm for arm in found if arm is not None], key=lambda arm: -arm.gap)
    # The widest counts below the bar as well: without any arm there would be no score.
    return [arm for i, arm in enumerate(arms) if i == 0 or arm.gap >= _LEAST_GAP]


def _arm(name: str, original: Score, references: Sequence[Score]) -> _Arm | None:
    """One arm; None where it was not run, nothing was kept to judge it by, or the original does not stand above."""
    readings = _readings_of(name, original)
    kept = [score.readings[reading].choice for score in (original, *references) for reading in readings]
    if not readings or None in kept:
        return None
    # On the eval half, whose scale T has; which arms count is judged on the attack half.
    delta = _mean_value(original, readings) - float(np.mean([_mean_value(score, readings) for score in references]))
    if delta <= 0:
        return None
    gap = _gap(readings, original, references)
    return _Arm(name=name, readings=readings, references=references, delta=delta, gap=gap)


def _readings_of(arm: str, score: Score) -> tuple[str, ...]:
    """Names of the readings that count: of every attack those in the arm's share of its measured steps."""
    attacks: dict[str, list[str]] = {}
    for name in score.readings:
        if name.startswith(f"{arm},"):
            attacks.setdefault(name.rpartition(",")[0], []).append(name)
    # Readings stand in the order of their steps.
    return tuple(name for names in attacks.values() for name in names[: math.ceil(_COURSE[arm] * len(names))])


def _mean_value(score: Score, readings: Sequence[str]) -> float:
    return float(np.mean([score.readings[name].value for name in readings]))


def _gap(readings: Sequence[str], original: Score, references: Sequence[Score]) -> float:
    """On the attack half, of the mean over readings, in spreads of the references."""
    own, *others = (
        float(np.array([score.readings[name].choice for name in readings], dtype=np.float64).mean())
        for score in (original, *references)
    )
    # References that agree by luck are not believed closer than one example in n.
    return (own - float(np.mean(others))) / max(float(np.std(others, ddof=1)), 1 / original.n_examples)


def _larger(score: Score, arms: Sequence[_Arm], but: Score | None = None) -> Array:
    """The larger arm, per example, in units of the largest Δ: 1/n is no smallest spread of a short arm; float64 [n]."""
    found = [arm.of(score, but) for arm in arms]
    return max(found, key=lambda examples: float(examples.mean())) * max(arm.delta for arm in arms)


def _reference_rows(arms: Sequence[_Arm], references: Sequence[Score]) -> Array:
    """Per-example scores of the references, float64 [K, n].

    Each is held against the mean of the others, as a further model is held against a mean that it is no part of;
    otherwise the larger of two arms would come out lower for references than for one more model. Deviations from the
    others' mean are K/(K − 1) times those from the mean of all, and the interval adds 1/K again: so they are scaled
    back about their mean. With one arm that leaves exactly x_i − x̄.
    """
    rows = np.stack([_larger(score, arms, but=score) for score in references])
    centre, k = rows.mean(axis=0), len(references)
    return np.asarray(centre + (rows - centre) * (k - 1) / k)


def _settled(score: Score, arms: Sequence[_Arm], references: Sequence[Score]) -> Score:
    blind = (
        did_not_take(
            arm.name,
            score.controls[taught_name(arm.name)],
            [other.controls[taught_name(arm.name)] for other in references],
            n=score.n_examples,
            # A model is blind if either arm did not take, so that the arms share the level.
            arms=len(arms),
        )
        for arm in arms
        if taught_name(arm.name) in score.controls
    )
    rescaled = _as_settled(score, arms, _larger(score, arms))
    controls = {f"ρ by {arm.name} alone": float(arm.of(score).mean()) for arm in arms}
    return rescaled.model_copy(
        update={
            "controls": {**score.controls, **controls},
            "cannot_clear_because": score.cannot_clear_because or next((words for words in blind if words), None),
        }
    )


def _as_settled(score: Score, arms: Sequence[_Arm], row: Array) -> Score:
    name = " and ".join(sorted(arm.name for arm in arms))
    reading = Reading(value=float(row.mean()), examples=tuple(row.tolist()))
    return score.model_copy(update={"readings": {name: reading}})


def _unscaled(score: Score) -> Score:
    """Without references: the larger arm's mean over all attacks and measured steps."""
    rows = [_readings_of(arm, score) for arm in (AS_IS, ROW_RESET)]
    curves = [np.mean([score.readings[name].examples for name in arm], axis=0) for arm in rows if arm]
    best = max(curves, key=lambda examples: float(examples.mean()))
    reading = Reading(value=float(best.mean()), examples=tuple(best.tolist()))
    return score.model_copy(update={"readings": {"larger arm": reading}})
