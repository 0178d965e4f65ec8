"""Draws of a check's own null, as many as it takes and no more."""

from collections.abc import Callable


def draws_until_decided(draw: Callable[[int], float], value: float, most: int, enough: int = 10) -> tuple[float, ...]:
    """Draws of the null, stopped as soon as ``enough`` of them reached the score.

    A model that stands out pays for all draws, so that its p-value can be small; one that does not is let go early.
    The p-value of what was drawn stays valid (Besag and Clifford 1991, sequential Monte Carlo p-values).

    Args:
        draw: makes the i-th draw.
        value: the model's score T.
        most: draws at most.
        enough: draws as high as T after which no more are made.

    >>> len(draws_until_decided(float, value=5.0, most=100, enough=2))
    7
    >>> len(draws_until_decided(float, value=500.0, most=100, enough=2))
    100
    """
    draws: list[float] = []
    reached = 0
    while len(draws) < most and reached < enough:
        draws.append(draw(len(draws)))
        reached += draws[-1] >= value
    return tuple(draws)
