"""Forget and holdout that nobody drew: what a reference of the original's recipe shows of them, as pure functions.

A reference r saw neither side, so D(r) = x̄_F(r) − x̄_H(r) is what the sides differ by themselves. It is taken off every
model whole (β = 1, a triple difference). That it counts for another model just as much is an assumption: limits are
widened by |D(r)|/M, which covers everything from not at all to twice as much.
"""

import math

from auditor.inference.contrast import Two
from auditor.inference.statistics import Limits

SHARE = 0.25
"""Of M: so much the reference may tell the sides apart, its upper limit, for the declaration to count."""
_ONE_SIDED = 1.645


def not_alike(reference: Two | None, m: float) -> str | None:
    """Why a declaration is not believed, in one clause; None where the reference shows too little against it.

    Args:
        reference: mean of the references of the original's recipe; None where there are none.
        m: M, the original's difference less the reference's.
    """
    if reference is None:
        return "forget and holdout are declared alike, and only a reference of the original's recipe can show it"
    error = math.sqrt(sum(float(side.var(ddof=1)) / len(side) for side in (reference.forget, reference.holdout)))
    most = abs(reference.difference) + _ONE_SIDED * error
    if most < SHARE * m:
        return None
    return (
        f"forget and holdout are declared alike, but the reference tells them apart by {reference.difference:.3f} with "
        f"a standard error of {error:.3f}: up to {most:.3f}, which has to lie below {SHARE:g} of the original's "
        f"difference of {m:.3f}"
    )


def slack(reference: Two | None, m: float) -> float:
    """|D(r)|/M in units of ρ; 0 without a reference, or where the original does not stand above it.

    >>> import numpy as np
    >>> slack(Two(forget=np.array([1.0, 2.0]), holdout=np.array([2.0, 3.0])), 4.0)
    0.25
    """
    return abs(reference.difference) / m if reference is not None and m > 0 else 0.0


def widened(limits: Limits | None, by: float) -> Limits | None:
    """The limits with ``by`` to spare on either side."""
    return None if limits is None else Limits(value=limits.value, low=limits.low - by, high=limits.high + by)
