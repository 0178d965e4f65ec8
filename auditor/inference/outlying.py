"""Which of several groups stand out from the usual: groups are held against the spread between groups."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEAST_GROUPS = 5
"""Of fewer the spread between groups says nothing."""
LEVEL = 0.05
"""Chance that any of as many usual groups stands out, at most."""
# The tests are made one after the other, and with few groups at .05 any stands out in up to .08 (simulated).
_EACH = 0.03


def standing_out(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Groups that lie above the usual, by the generalised extreme studentised deviate (Rosner 1983, Technometrics 25).

    The usual is one normal distribution, whose centre and spread are not known. Up to a third of the groups may lie
    above it: the highest is held against the spread of all, then the next against that of those below, and so on, so
    that several unusual groups do not hide each other. All down to the last that is too far stand out.

    Args:
        values: float64 [groups], on a scale on which usual groups are about normal.

    Returns:
        bool [groups].

    Raises:
        ValueError: fewer than :data:`LEAST_GROUPS` groups.
    """
    n = len(values)
    if n < LEAST_GROUPS:
        raise ValueError(f"{n} groups, and their spread is known from {LEAST_GROUPS} on")
    order, found = np.argsort(-values, kind="stable"), 0
    for taken in range(max(n // 3, 1)):
        rest = values[order[taken:]]
        spread = rest.std(ddof=1)
        if spread > 0 and (rest[0] - rest.mean()) / spread > _critical(len(rest)):
            found = taken + 1
    above = np.zeros(n, dtype=np.bool_)
    above[order[:found]] = True
    return above


def _critical(n: int) -> float:
    """What the largest of n usual deviates exceeds by chance at the level of one test (Rosner 1983, eq. 2.5)."""
    t = float(stats.t.isf(_EACH / n, n - 2))
    return (n - 1) * t / float(np.sqrt((n - 2 + t**2) * n))
