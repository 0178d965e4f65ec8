"""How likely a true deletion is to pass, by simulation, before the unlearned model is scored.

On the road of the holdout subjects are normal with one spread on either model, and independent between models. The gap
M/s is the one unknown: how far the original's forget subjects stand above its holdout subjects, in units of the spread
between subjects.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from auditor.inference.statistics import CONFIDENCE, Clearing, pass_probability

Array = NDArray[np.float64]
DRAWS = 4000
_MOST_SUBJECTS = 100_000


def resolution_of(gap: float, n: int, m: int, *, helped: bool) -> float:
    """The resolution w at a gap, in units of ρ.

    Args:
        gap: M/s > 0, s the spread between holdout subjects of what a helping model leaves.
        n: forget subjects, 2 or more.
        m: holdout subjects, 3 or more.
        helped: whether a model that saw neither side says how hard each subject is; its slope costs a degree.

    >>> round(resolution_of(6.0, 20, 20, helped=False), 3)
    0.091
    """
    return float(stats.t.ppf(CONFIDENCE, m - 1 - helped)) * math.sqrt(1 / n + 1 / m) / gap


def gap_of(w: float, n: int, m: int, *, helped: bool) -> float:
    """The gap at which w would be that; the inverse of :func:`resolution_of`."""
    return resolution_of(w, n, m, helped=helped)


def subjects_needed(gap: float, wanted: float) -> int | None:
    """Fewest subjects, as many on either side, that resolve ``wanted``; None where a hundred thousand would not.

    >>> subjects_needed(6.0, 0.35), subjects_needed(1.5, 0.35)
    (4, 22)
    """

    def enough(n: int) -> bool:
        return resolution_of(gap, n, n, helped=False) <= wanted

    if not enough(_MOST_SUBJECTS):
        return None
    low, high = 2, _MOST_SUBJECTS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def pass_by_holdout(
    n: int, m: int, gaps: Sequence[float], clearing: Clearing, *, helped: bool, rho: float = 0.0, seed: int = 0
) -> float:
    """Share of audits in which every primary clears.

    Args:
        n: forget subjects, 2 or more.
        m: holdout subjects, 3 or more.
        gaps: M/s of each primary.
        clearing: what each has to meet.
        helped: as in :func:`resolution_of`.
        rho: residue of the model; 0 for a true deletion.
        seed: of the simulation.
    """
    random = np.random.default_rng(seed)
    passed = np.ones(DRAWS, dtype=bool)
    for gap in gaps:
        passed &= _clears(_Draws(random, n, m, gap, rho, lost=1 + helped), clearing, len(gaps))
    return float(passed.mean())


def pass_by_references(k: int, gaps: Sequence[float], clearing: Clearing) -> float:
    """Share of audits in which every primary clears.

    Args:
        k: references, 2 or more.
        gaps: Δ/s of each primary, s the spread of the references.
        clearing: what each has to meet.
    """
    # One primary at a time, since their gaps differ; at the level that each has of the family's.
    family = max(len(gaps), 1)
    each = replace(clearing, trace=clearing.trace / family, deficit=clearing.deficit / family)
    return math.prod(pass_probability(k, gap, n_primaries=1, clearing=each, seed=i) for i, gap in enumerate(gaps))


class _Draws:
    """Many audits of one primary, by what Fieller's limits look at: differences, variances, degrees of freedom."""

    def __init__(self, random: np.random.Generator, n: int, m: int, gap: float, rho: float, lost: int) -> None:
        error = math.sqrt(1 / n + 1 / m)
        self.n_value = rho * gap + error * random.standard_normal(DRAWS)
        self.m_value = gap + error * random.standard_normal(DRAWS)
        degrees = (n - 1, m - lost)
        # Variance of a mean on either side, of the unlearned model and of the original.
        self.u, self.o = (
            [random.chisquare(df, DRAWS) / df / size for df, size in zip(degrees, (n, m), strict=True)]
            for _ in range(2)
        )
        # Sample covariances of independent scores: 0 on average, and never exactly.
        self.uo = [
            random.standard_normal(DRAWS) / math.sqrt(df) / size for df, size in zip(degrees, (n, m), strict=True)
        ]
        self._degrees = degrees
        self.w = float(stats.t.ppf(CONFIDENCE, m - lost)) * np.sqrt(self.o[1] * m) * error / self.m_value

    def variance(self, tau: float | Array) -> list[Array]:
        """Of u − τo, by side."""
        return [
            np.maximum(u - 2 * tau * uo + tau**2 * o, 1e-12) for u, uo, o in zip(self.u, self.uo, self.o, strict=True)
        ]

    def degrees(self, tau: float | Array) -> Array:
        """Welch's."""
        parts = self.variance(tau)
        spread = sum(part**2 / df for part, df in zip(parts, self._degrees, strict=True))
        return np.asarray((parts[0] + parts[1]) ** 2 / spread)

    def p_above(self, tau: float) -> Array:
        """One-sided, against ρ ≤ τ: Welch's test in the place of the permutations, which it agrees with here."""
        value = (self.n_value - tau * self.m_value) / np.sqrt(sum(self.variance(tau)))
        return np.asarray(stats.t.sf(value, self.degrees(tau)))


def _clears(draws: _Draws, clearing: Clearing, family: int) -> NDArray[np.bool_]:
    n_value, m_value = draws.n_value, draws.m_value
    t2 = stats.t.ppf(CONFIDENCE, draws.degrees(np.clip(n_value / m_value, 0.0, 1.0))) ** 2
    u, o, uo = (sum(parts) for parts in (draws.u, draws.o, draws.uo))
    a, half_b = m_value**2 - t2 * o, n_value * m_value - t2 * uo
    # NaN passes no bar: there is no interval.
    a = np.where((m_value > 0) & (a > 0), a, np.nan)
    root = np.sqrt(np.maximum(half_b**2 - a * (n_value**2 - t2 * u), 0.0))
    low, high = (half_b - root) / a, (half_b + root) / a
    bounded = (draws.w <= clearing.deleted) & (high < clearing.deleted) & (low > -clearing.over)
    trace, deficit = draws.p_above(clearing.tolerance), 1 - draws.p_above(-clearing.tolerance)
    return np.asarray(bounded & (trace > clearing.trace / family) & (deficit > clearing.deficit / family))
