"""From the readings of several attacks in two arms to one score: which readings count, and what one arm is worth.

Pure functions on scores. Readings are named ``arm, attack i, step s`` and carry the same number on attack examples
that are never trained on (``choice``), by which original and references choose.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.attacks.reach import did_not_take, taught_name
from auditor.scores import Reading, Score

Array = NDArray[np.float64]

AS_IS, ROW_RESET = "as is", "row reset"
# In spreads of the references. With five of them these resolve residues of .12 and .31.
_WIDE_GAP = 20.0
_LEAST_GAP = 7.5


def reading_name(arm: str, attack: int, step: int) -> str:
    """Of one arm after one step of one attack."""
    return f"{arm}, attack {attack}, step {step}"


def settle(original: Score, references: Sequence[Score], *, at_the_end: bool = False) -> Callable[[Score], Score]:
    """Bring the arms to one scale, take the larger, and say of a model that the attack did not take.

    Args:
        original: its score.
        references: theirs.
        at_the_end: whether every attack counts by the later half of its readings, instead of up to the step that
            original and references choose.
    """
    arms = _counted_arms(original, references, at_the_end)
    if not arms:
        return _unscaled
    found = {id(score): row for score, row in zip(references, _reference_rows(arms, references), strict=True)}

    def one(score: Score) -> Score:
        row = found.get(id(score))
        return _settled(score, arms, references) if row is None else _as_settled(score, arms, row)

    return one


@dataclass(frozen=True, kw_only=True)
class _Arm:
    """One arm, each of its attacks up to its chosen step.

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

    @property
    def label(self) -> str:
        """The arm, and up to which step each counted attack is followed."""
        last = {name.rpartition(",")[0]: name for name in self.readings}
        ends = (name.removeprefix(f"{self.name}, ").replace(", step", " up to step") for name in last.values())
        return ", ".join([self.name, *ends])

    def of(self, score: Score, but: Score | None = None) -> Array:
        """ρ of one model by this arm alone, per example, float64 [n]; ``but`` one reference, which the null omits."""
        own = np.mean([score.readings[name].examples for name in self.readings], axis=0)
        null = np.mean([_mean_value(other, self.readings) for other in self.references if other is not but])
        return np.asarray((own - null) / self.delta)


def _counted_arms(original: Score, references: Sequence[Score], at_the_end: bool) -> list[_Arm]:
    """The arms that make up T, widest gap first; none without two references or a gap."""
    if len(references) < 2:
        return []
    found = [_arm(arm, original, references, at_the_end) for arm in (AS_IS, ROW_RESET)]
    arms = sorted([arm for arm in found if arm is not None], key=lambda arm: -arm.gap)
    return [arm for i, arm in enumerate(arms) if i == 0 or arm.gap >= _LEAST_GAP]


def _arm(name: str, original: Score, references: Sequence[Score], at_the_end: bool) -> _Arm | None:
    """One arm up to the steps that the attack half chooses; None where the original does not stand above there."""
    attacks = [_followed(readings, original, references, at_the_end) for readings in _by_attack(name, original)]
    widest = max((gap for _, gap in attacks), default=-np.inf)
    counted = [reading for readings, gap in attacks if gap >= min(widest, _LEAST_GAP) for reading in readings]
    if not counted:
        return None
    delta = _mean_value(original, counted) - float(np.mean([_mean_value(score, counted) for score in references]))
    if delta <= 0:
        return None
    gap = _gap_of_mean(counted, original, references)
    return _Arm(name=name, readings=tuple(counted), references=references, delta=delta, gap=gap)


def _followed(
    readings: Sequence[str], original: Score, references: Sequence[Score], at_the_end: bool
) -> tuple[tuple[str, ...], float]:
    """One attack's readings up to the step that the attack half chooses, and its widest gap; none without a gap."""
    gaps = _gaps(readings, original, references)
    if not gaps:
        return (), -np.inf
    wide = [reading for reading in readings if gaps[reading] >= _WIDE_GAP]
    last = wide[-1] if wide else max(readings, key=lambda reading: gaps[reading])
    if at_the_end:
        return tuple(readings[len(readings) // 2 :]), max(gaps.values())
    end = readings.index(last) + 1
    return tuple(readings[end // 2 : end]), max(gaps.values())


def _by_attack(arm: str, score: Score) -> list[list[str]]:
    """Names of an arm's readings, attack by attack, in order of steps."""
    found: dict[str, list[str]] = {}
    for name in score.readings:
        if name.startswith(f"{arm},"):
            found.setdefault(name.rpartition(",")[0], []).append(name)
    return list(found.values())


def _mean_value(score: Score, readings: Sequence[str]) -> float:
    return float(np.mean([score.readings[name].value for name in readings]))


def _gap_of_mean(readings: Sequence[str], original: Score, references: Sequence[Score]) -> float:
    """On the attack half, of the mean over readings, in spreads of the references."""
    own, *others = (
        float(np.array([score.readings[name].choice for name in readings], dtype=np.float64).mean())
        for score in (original, *references)
    )
    return (own - float(np.mean(others))) / max(float(np.std(others, ddof=1)), 1 / original.n_examples)


def _gaps(readings: Sequence[str], original: Score, references: Sequence[Score]) -> dict[str, float]:
    """By reading, in order of steps: gap on the attack half in spreads of the references; empty where it has none."""
    table = np.array([[score.readings[name].choice for name in readings] for score in references], dtype=np.float64)
    own = np.array([original.readings[name].choice for name in readings], dtype=np.float64)
    if np.isnan(own).any() or np.isnan(table).any():
        return {}
    # Spreads grow as the attack goes on; a smaller one later is the luck of few references.
    spread = np.maximum(np.maximum.accumulate(table.std(0, ddof=1)), 1 / original.n_examples)
    return dict(zip(readings, ((own - table.mean(0)) / spread).tolist(), strict=True))


def _larger(score: Score, arms: Sequence[_Arm], but: Score | None = None) -> Array:
    """The larger arm, per example, in units of the smallest Δ, so that no arm's spread is blown up; float64 [n]."""
    found = [arm.of(score, but) for arm in arms]
    return max(found, key=lambda examples: float(examples.mean())) * min(arm.delta for arm in arms)


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
            arms=len(arms),
        )
        for arm in arms
        if taught_name(arm.name) in score.controls
    )
    settled = _as_settled(score, arms, _larger(score, arms))
    controls = {f"ρ by {arm.name} alone": float(arm.of(score).mean()) for arm in arms}
    return settled.model_copy(
        update={
            "controls": {**score.controls, **controls},
            "blind": score.blind or next((words for words in blind if words), None),
        }
    )


def _as_settled(score: Score, arms: Sequence[_Arm], row: Array) -> Score:
    name = " and ".join(sorted(arm.label for arm in arms))
    reading = Reading(value=float(row.mean()), examples=tuple(row.tolist()))
    return score.model_copy(update={"readings": {name: reading}})


def _unscaled(score: Score) -> Score:
    """Without references: the larger arm's mean over all attacks and measured steps."""
    rows = [[r for name, r in score.readings.items() if name.startswith(f"{arm},")] for arm in (AS_IS, ROW_RESET)]
    curves = [np.mean([reading.examples for reading in arm], axis=0) for arm in rows if arm]
    best = max(curves, key=lambda examples: float(examples.mean()))
    reading = Reading(value=float(best.mean()), examples=tuple(best.tolist()))
    return score.model_copy(update={"readings": {"larger arm, all steps": reading}})
