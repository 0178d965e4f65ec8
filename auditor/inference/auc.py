"""Area under the ROC curve: how often a value of one set lies above a value of another, ties counted half."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from auditor.inference.statistics import CONFIDENCE, exact_rate_limits

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """A rate between 0 and 1 with its one-sided 95 % limits."""

    value: float
    low: float
    high: float


def placements(values: ArrayLike, others: ArrayLike) -> Array:
    """How many of ``others`` [m] lie below each of ``values`` [n], ties counted half: float64 [n], exact.

    >>> placements([2.0, 9.0], [1.0, 2.0, 3.0]).tolist()
    [1.5, 3.0]
    """
    found, ordered = np.asarray(values), np.sort(np.asarray(others))
    below = (np.searchsorted(ordered, found, "left") + np.searchsorted(ordered, found, "right")) / 2
    # Sorting puts NaN last: a value that is not known would count as the highest.
    return np.where(np.isnan(found) | np.isnan(ordered).any(), np.nan, below)


def auc(values: ArrayLike, others: ArrayLike) -> float:
    """P(value > other) + ½ P(tie) over values [n] and others [m], in [0, 1] (Mann & Whitney 1947).

    >>> auc([2.0, 2.0], [1.0, 2.0])
    0.75
    """
    return float(placements(values, others).mean() / np.size(others))


def auc_with_limits(members: Array, non_members: Array) -> Rate:
    """The same of members [m] over non-members [n], with its DeLong limits, in O(n log n).

    Variance by DeLong et al. (1988) through midranks (Sun & Xu 2014, IEEE Signal Processing Letters 21). Where the
    sets separate without error that variance is 0 and says nothing; then min(m, n) disjoint pairs, all ordered alike,
    give the exact binomial limit.

    The value may differ from :func:`auc` in its last digit: it is the mean of the shares whose variance is taken, each
    rounded, and recorded controls hold it so.

    >>> auc_with_limits(np.array([1.0, 3.0]), np.array([0.0, 2.0])).value
    0.75
    """
    m, n = len(members), len(non_members)
    above = placements(members, non_members) / n
    # DeLong's other component: the share of members that lie above each non-member.
    below = 1.0 - placements(non_members, members) / m
    value = float(above.mean())
    if value in (0.0, 1.0) or min(m, n) < 2:
        low, high = exact_rate_limits(round(value * min(m, n)), min(m, n))
        return Rate(value=value, low=min(low, value), high=max(high, value))
    deviation = float(np.sqrt(np.var(above, ddof=1) / m + np.var(below, ddof=1) / n))
    reach = float(stats.norm.ppf(CONFIDENCE)) * deviation
    return Rate(value=value, low=max(value - reach, 0.0), high=min(value + reach, 1.0))
