"""Scores of any unit on one scale: about 0 like models that never saw the example, 1 like the original. Pure functions.

Only the user knows the unit of a custom score: log-probabilities, negative errors, ranks. So each example's score is
held against what original and references score on the same example,

    x_i(m) = exp(−8(1 − y)),    y = clip((s_i(m) − r̄_i)/Δ, 0, 1),    Δ = median of o_i − r̄_i where that is above 0,

r̄_i the mean over the references. The median, since a few examples that the references get wildly wrong would set a
mean; one Δ for all examples, since some of them teach nothing and have none of their own. Clipped, since a suppressed
model may score any example as badly as it likes, and a mean must not let what is hidden in some pay for what is kept in
others. A constant shift and a factor of all scores change nothing.

What counts is how near an example comes to the original: a third where it lacks an eighth of the way. Far from it
scores say little: one retrained network gives a class that it never saw a log-probability of −9 and the next −13,
and neither knows anything. For a log-probability that falls by 16 x is the square root of the probability.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.records.score import Reading, Score

Array = NDArray[np.float64]
# Chosen on worlds in view; docs/custom.md reports on others.
_STEEP = 8.0
MOST_AHEAD = 0.25
"""Of the way from references to original that a model may stand above every reference and still be cleared."""


@dataclass(frozen=True)
class Scale:
    """What the scores of some examples are held against.

    Attributes:
        references: scores of the references, [K ≥ 2, n].
        delta: Δ, > 0.
    """

    references: Array
    delta: float

    @classmethod
    def between(cls, original: Sequence[float], references: Sequence[Sequence[float]]) -> "Scale | None":
        """The scale of some examples; None without two references, or where the original is above them nowhere.

        >>> scale = Scale.between([1.0, 3.0], [[0.0, 1.0], [0.0, 1.0]])
        >>> scale.delta, scale.of(np.array([1.5, -9.0])).round(4).tolist()
        (1.5, [1.0, 0.0003])
        """
        if len(references) < 2:
            return None
        rows = np.asarray(references, dtype=np.float64)
        gaps = np.asarray(original, dtype=np.float64) - rows.mean(axis=0)
        above = gaps[gaps > 0]
        return cls(rows, float(np.median(above))) if len(above) else None

    def share(self, values: Array, but: int | None = None) -> Array:
        """Y of one model, [..., n]; ``but`` the number of a reference, which is then no part of the null."""
        others = self.references if but is None else np.delete(self.references, but, axis=0)
        return np.asarray(np.clip((values - others.mean(axis=0)) / self.delta, 0.0, 1.0))

    def of(self, values: Array, but: int | None = None) -> Array:
        """X of one model, [..., n]; arguments as of :meth:`share`."""
        return np.asarray(np.exp(-_STEEP * (1.0 - self.share(values, but))))

    def of_references(self) -> Array:
        """X of the references, [K, n].

        Each is held against the others, as a further model is held against models that it is none of; deviations from
        their mean, K/(K − 1) times too large then, are brought back to size.
        """
        k = len(self.references)
        rows = np.stack([self.of(row, but=i) for i, row in enumerate(self.references)])
        centre = rows.mean(axis=0)
        return np.asarray(centre + (rows - centre) * (k - 1) / k)


def halfway(scale: Scale, values: Array, references: Sequence[Array]) -> str | None:
    """Why a model that scores far above the references is not cleared, however little x makes of it; None where it may.

    x is steep: two thirds of the way to the original are a tenth of it.

    Args:
        scale: of these examples.
        values: scores of the model, [n].
        references: scores of the references after the same, [n] each, in the order of the scale's.
    """
    highest = max(float(scale.share(own, but=i).mean()) for i, own in enumerate(references))
    ahead = float(scale.share(values).mean()) - highest
    if ahead < MOST_AHEAD:
        return None
    return f"its scores lie {ahead:.2f} of the way to the original's above those of every reference"


def rescale(original: Score, references: Sequence[Score], name: str) -> Callable[[Score], Score]:
    """Bring one reading of every model to the common scale; no change where there is none.

    Args:
        original: its score.
        references: theirs.
        name: of the reading, which has examples.
    """
    scale = Scale.between(original.readings[name].examples, [score.readings[name].examples for score in references])
    if scale is None:
        return lambda score: score
    # By identity: another model may carry the same numbers and is no reference.
    found = {id(score): row for score, row in zip(references, scale.of_references(), strict=True)}

    def one(score: Score) -> Score:
        own = found.get(id(score))
        row = scale.of(np.asarray(score.readings[name].examples)) if own is None else own
        reading = Reading(value=float(row.mean()), examples=tuple(row.tolist()))
        return score.model_copy(update={"readings": {**score.readings, name: reading}})

    return one


def in_gaps(original: Score, references: Sequence[Score], name: str) -> Callable[[Score], Score]:
    """Divide one reading by the original's gap, so that a smallest spread of one example in n means what it says.

    Unlike :func:`rescale` it clips nothing: for a check that has to see less knowledge than the references have, too.
    """
    gap = original.readings[name].value - float(np.mean([s.readings[name].value for s in references] or [np.inf]))
    if len(references) < 2 or gap <= 0:
        return lambda score: score

    def one(score: Score) -> Score:
        before = score.readings[name]
        reading = Reading(value=before.value / gap, examples=tuple(x / gap for x in before.examples))
        return score.model_copy(update={"readings": {**score.readings, name: reading}})

    return one
