"""The prior of the references' spread, (s₀, d₀), from many worlds: a scaled inverse χ² fitted by moments.

Smyth 2004 (Statistical Applications in Genetics and Molecular Biology 3, article 3, section 6.2): with sample
variances s² on d degrees of freedom and true variances scaled inverse χ² on d₀ around s₀²,
e = log s² − ψ(d/2) + log(d/2) has mean log s₀² − ψ(d₀/2) + log(d₀/2) and variance ψ′(d/2) + ψ′(d₀/2).
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

FEWEST_WORLDS = 6  # the variance of fewer log variances says nothing of d₀
# Between them the trigamma function has a root for every excess that worlds can show.
_LEAST, _MOST = 0.05, 1e6


def prior_spread(variances: Sequence[float], degrees: int) -> tuple[float, float] | None:
    """(s₀, d₀) from the variances of references in several worlds.

    Args:
        variances: one a world, > 0.
        degrees: of each.

    Returns:
        s₀ in the unit of the square root of the variances, and d₀, at most the number of worlds: a fit to few of
        them may not outweigh what they hold. None from fewer than six worlds.
    """
    if len(variances) < FEWEST_WORLDS:
        return None
    # Less what sampling alone does to the log of a variance, on average and in spread.
    e = np.log(variances) - digamma(degrees / 2) + np.log(degrees / 2)
    excess = float(np.var(e, ddof=1) - polygamma(1, degrees / 2))
    fitted = _inverse_trigamma(excess)
    log_s0 = float(np.mean(e)) + digamma(fitted / 2) - np.log(fitted / 2)
    return float(np.exp(log_s0 / 2)), float(min(fitted, len(variances)))


def _inverse_trigamma(excess: float) -> float:
    """d₀ with ψ′(d₀/2) equal to the excess; very many degrees where the worlds do not differ beyond sampling."""
    if excess <= polygamma(1, _MOST / 2):
        return _MOST
    return float(brentq(lambda d: polygamma(1, d / 2) - excess, _LEAST, _MOST))
