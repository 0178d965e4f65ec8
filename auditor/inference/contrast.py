"""Two groups of subjects that chance divided, measured on the same models: pure functions on numbers.

Where chance decided which subjects a model was taught (F) and which not (H), a model that does not depend on that
decision scores both alike, whatever else it is. So each model is its own null: N = x̄_F(u) − x̄_H(u) of the unlearned
model against M = x̄_F(o) − x̄_H(o) of the original, ρ = N/M.

A model r that saw neither side says how hard each subject is. What it predicts is taken off first: the slope of a
model's scores on r's comes from H, which nobody was taught (analysis of covariance; Fisher 1932).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from auditor.inference.statistics import CONFIDENCE, Limits

Array = NDArray[np.float64]
# Of all draws so many at once: a table of draws by subjects has to fit in memory.
_CHUNK = 1000
# Sums of one draw in another order differ in the last digits, and a tie has to count as one.
_TIE = 1e-12


@dataclass(frozen=True, kw_only=True)
class Two:
    """One model's scores by subject on either side.

    Attributes:
        forget: F, [n].
        holdout: H, [m].
    """

    forget: Array
    holdout: Array

    @property
    def difference(self) -> float:
        """Mean over F less mean over H."""
        return float(self.forget.mean() - self.holdout.mean())

    def less(self, other: "Two", share: float) -> "Two":
        """Each subject's score less a share of another model's."""
        return Two(forget=self.forget - share * other.forget, holdout=self.holdout - share * other.holdout)


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Unlearned model and original on the same subjects.

    Attributes:
        unlearned: its scores by subject.
        original: likewise.
        reference: of a model that saw neither side; None without one.
        floor: standard error that every difference has beside what the subjects show, 1/n examples: no score is finer.
    """

    unlearned: Two
    original: Two
    reference: Two | None
    floor: float

    @cached_property
    def n(self) -> float:
        """N, of what the reference does not predict."""
        return adjusted(self.unlearned, self.reference)

    @cached_property
    def m(self) -> float:
        """M, likewise of the original."""
        return adjusted(self.original, self.reference)

    def limits(self) -> Limits | None:
        """Fieller's limits of ρ, each holding by itself with 95 % confidence (Fieller 1954).

        They are the roots in ρ of (N − ρM)² = t² (V_uu − 2ρ V_uo + ρ² V_oo), with Welch's degrees of freedom of
        u − ρ̂ o, ρ̂ within [0, 1].

        Returns:
            None where the original does not stand clearly above: then no interval exists.
        """
        if self.m <= 0:
            return None
        spread, both, own = (
            _covariance(first, second, self.reference)
            for first, second in (
                (self.unlearned, self.unlearned),
                (self.unlearned, self.original),
                (self.original, self.original),
            )
        )
        t2 = float(stats.t.ppf(CONFIDENCE, self._degrees(min(max(self.n / self.m, 0.0), 1.0)))) ** 2
        a, half_b = self.m**2 - t2 * own, self.n * self.m - t2 * both
        if a <= 0:
            return None
        # Real, since the left side is 0 at ρ = N/M; below 0 this is rounding alone.
        root = math.sqrt(max(half_b**2 - a * (self.n**2 - t2 * (spread + self.floor**2)), 0.0))
        return Limits(value=self.n / self.m, low=(half_b - root) / a, high=(half_b + root) / a)

    def p_above(self, tau: float) -> float:
        """One-sided p-value of Welch's test against ρ ≤ τ."""
        return float(stats.t.sf((self.n - tau * self.m) / self._error(tau), self._degrees(tau)))

    def resolution(self) -> float | None:
        """Smallest residue that can be ruled out, t · s_H(o) · √(1/n + 1/m)/M: it looks at the original alone.

        Returns:
            None where the original does not stand above: M ≤ 0.
        """
        if self.m <= 0:
            return None
        n, m, lost = len(self.original.forget), len(self.original.holdout), _lost(self.reference)
        left = _left(self.original, self.reference)
        error = math.sqrt(float(left.holdout.var(ddof=lost)) * (1 / n + 1 / m) + self.floor**2)
        return float(stats.t.ppf(CONFIDENCE, m - lost)) * error / self.m

    def standard_error(self) -> float:
        """Of N."""
        return self._error(0.0)

    def degrees(self) -> float:
        """Welch's, of N."""
        return self._degrees(0.0)

    def _error(self, tau: float) -> float:
        z = self.unlearned.less(self.original, tau)
        # Above 0 whatever the floor, since p-values divide by it.
        return max(math.sqrt(_covariance(z, z, self.reference) + self.floor**2), 1e-12)

    def _degrees(self, tau: float) -> float:
        left, lost = _left(self.unlearned.less(self.original, tau), self.reference), _lost(self.reference)
        n, m = len(left.forget), len(left.holdout)
        first, second = float(left.forget.var(ddof=1)) / n, float(left.holdout.var(ddof=lost)) / m
        # Without any spread the smaller group says how little is known of it.
        if first + second == 0:
            return min(n - 1, m - lost)
        return (first + second) ** 2 / (first**2 / (n - 1) + second**2 / (m - lost))


def adjusted(own: Two, reference: Two | None) -> float:
    """Difference between the sides of what the reference does not predict.

    >>> own = Two(forget=np.array([3.0, 4.0]), holdout=np.array([1.0, 2.0]))
    >>> adjusted(own, None)
    2.0
    >>> adjusted(own, Two(forget=np.array([2.0, 2.0]), holdout=np.array([1.0, 2.0])))
    1.5
    """
    return own.difference - slope(own, reference) * (reference.difference if reference is not None else 0.0)


def slope(own: Two, reference: Two | None) -> float:
    """Of a model's scores on the reference's, over H; 0 without a reference, or where it scores all H alike."""
    if reference is None:
        return 0.0
    centred = reference.holdout - reference.holdout.mean()
    return float(centred @ own.holdout) * float(_inverse_spread(centred, reference.holdout))


def p_permutation(own: Two, reference: Two | None, draws: int, random: np.random.Generator) -> tuple[float, float]:
    """One-sided p-values of the difference, above and below, under reassigning subjects to the sides at random.

    The slope is found again in every draw, so that the test is exact: had chance divided the subjects otherwise, it
    would have been that one.

    Args:
        own: one model's scores.
        reference: of a model that saw neither side; None without one.
        draws: how many.
        random: source of the draws.
    """
    x = np.concatenate([own.forget, own.holdout])
    r = None if reference is None else np.concatenate([reference.forget, reference.holdout])
    found, n = adjusted(own, reference), len(own.forget)
    tie = _TIE * max(1.0, float(np.abs(x).max()))
    above = below = 0
    for start in range(0, draws, _CHUNK):
        keys = random.random((min(_CHUNK, draws - start), len(x)))
        if r is None:
            values = _plain_differences(x, keys, n)
        else:
            orders = keys.argsort(axis=1)
            values = _differences(x[orders], r[orders], n)
        above += int((values >= found - tie).sum())
        below += int((values <= found + tie).sum())
    return (above + 1) / (draws + 1), (below + 1) / (draws + 1)


def _plain_differences(x: Array, keys: Array, n: int) -> Array:
    """Difference of the means where, of each row of keys, the n lowest say what stands in F, float64 [rows]."""
    # No full order, which takes several times as long: only which side each subject falls on counts.
    forget = x[np.argpartition(keys, n, axis=1)[:, :n]].sum(axis=1)
    return np.asarray(forget / n - (x.sum() - forget) / (len(x) - n))


def _differences(x: Array, r: Array, n: int) -> Array:
    """Adjusted difference of every row, of which the first n stand in F, float64 [rows]."""
    centred = r[:, n:] - r[:, n:].mean(axis=1, keepdims=True)
    slopes = (centred * x[:, n:]).sum(axis=1) * _inverse_spread(centred, r[:, n:])
    raw, predicted = (values[:, :n].mean(axis=1) - values[:, n:].mean(axis=1) for values in (x, r))
    return np.asarray(raw - slopes * predicted)


def _inverse_spread(centred: Array, values: Array) -> Array:
    """1/Σ(r − r̄)² over the last axis; 0 where a reference scores all subjects alike, rounding apart."""
    spread = (centred**2).sum(axis=-1)
    # A mean of equal numbers differs from them in the last digit, by which a slope would become anything.
    least = values.shape[-1] * (_TIE * np.abs(values).max(axis=-1)) ** 2
    return np.asarray(np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > least))


def _left(own: Two, reference: Two | None) -> Two:
    """What the reference does not predict, by subject."""
    return own if reference is None else own.less(reference, slope(own, reference))


def _lost(reference: Two | None) -> int:
    """Degrees of freedom that H pays: for its mean, and for the slope."""
    return 1 if reference is None else 2


def _covariance(first: Two, second: Two, reference: Two | None) -> float:
    """Of the two models' adjusted differences, from the subjects: V of :meth:`Contrast.limits`."""
    one, other, lost = _left(first, reference), _left(second, reference), _lost(reference)
    n, m = len(one.forget), len(one.holdout)
    in_forget = float((one.forget - one.forget.mean()) @ (other.forget - other.forget.mean())) / (n - 1)
    in_holdout = float((one.holdout - one.holdout.mean()) @ (other.holdout - other.holdout.mean())) / (m - lost)
    if reference is None:
        return in_forget / n + in_holdout / m
    centred = reference.holdout - reference.holdout.mean()
    # The slope is an estimate, too: it counts as far as the reference itself tells the sides apart.
    of_slope = in_holdout * float(_inverse_spread(centred, reference.holdout)) * reference.difference**2
    return in_forget / n + in_holdout / m + of_slope
