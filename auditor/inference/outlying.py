"""Which of several groups stand out from the usual: groups are held against the spread between groups."""

import numpy as np
from numpy.typing import NDArray

_DRAWS = 9_999
_TO_SIGMA = 0.6745
"""Median absolute deviation of a normal distribution, in its standard deviations."""
LEAST_GROUPS = 5
"""Of fewer the spread between groups says nothing."""


def modified_z(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """0.6745 (x − median) / MAD (Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers, section 3).

    Args:
        values: float64 [..., groups].

    Returns:
        float64 of the same shape; where more than half of the values are equal, infinite above them and 0 at them.
    """
    away = values - np.median(values, axis=-1, keepdims=True)
    spread = np.median(np.abs(away), axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = _TO_SIGMA * away / spread
    return np.where(away == 0, 0.0, z)


def p_above(values: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Of each group the chance that any of as many groups lies as far above the usual, where none is unusual.

    The usual is one normal distribution, whose centre and spread are not known: the largest modified z of as many draws
    from it does not depend on them. The p-values of all groups of one sample are so corrected for their number.

    Args:
        values: float64 [groups], on a scale on which usual groups are about normal.
        random: for the draws.

    Returns:
        float64 [groups] in (0, 1].

    Raises:
        ValueError: fewer than :data:`LEAST_GROUPS` groups.
    """
    if len(values) < LEAST_GROUPS:
        raise ValueError(f"{len(values)} groups, and their spread is known from {LEAST_GROUPS} on")
    largest = modified_z(random.standard_normal((_DRAWS, len(values)))).max(axis=-1)
    above: NDArray[np.float64] = (largest[:, None] >= modified_z(values)[None]).sum(axis=0, dtype=np.float64)
    return (1 + above) / (1 + _DRAWS)
