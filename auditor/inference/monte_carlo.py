"""Draws of a null that one model gives by itself: labels reassigned, or random changes made until it is decided.

What the draws say is worked out in :func:`auditor.inference.statistics.p_internal_null`.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
        # A tie counts as reached, as in p_internal_null: else a score equal to its whole null would stand out.
        reached += draws[-1] >= value
    return tuple(draws)


def permutation_null(
    members: Array,
    non_members: Array,
    n_draws: int,
    random: np.random.Generator,
    blocks: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Array:
    """T under random reassignment of the same margins to members and non-members, [n_draws].

    It is a null of one model by itself, valid where the two sets were drawn from one distribution.

    Args:
        members: margins, [n].
        non_members: margins, [m].
        n_draws: reassignments.
        random: source of the draws.
        blocks: what each example of either set is about, where examples of one thing are alike: then whole
            blocks are reassigned. An empty name is a block of its own.
    """
    pooled = np.concatenate([members, non_members])
    owner, n_own = _blocks(len(members), len(non_members), blocks)
    # Summed by block once, so that a draw costs no pass over the examples.
    sums, sizes = np.bincount(owner, weights=pooled), np.bincount(owner)
    draws = np.empty(n_draws)
    for i in range(n_draws):
        # Which blocks change sides matters, not their order.
        taken = random.choice(len(sums), n_own, replace=False, shuffle=False)
        total, size = sums[taken].sum(), sizes[taken].sum()
        draws[i] = total / size - (pooled.sum() - total) / (len(pooled) - size)
    return draws


def _blocks(n: int, m: int, names: tuple[Sequence[str], Sequence[str]] | None) -> tuple[NDArray[np.int64], int]:
    """The block of every example, numbered from 0, and how many of them the members make up."""
    if names is None:
        return np.arange(n + m), n
    # By side too: the sets are what is permuted, so a name in both is two blocks. The flag keeps an unnamed example
    # apart from a subject that is called by its number.
    keys = [(side, name or str(i), bool(name)) for side in (0, 1) for i, name in enumerate(names[side])]
    numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys]), sum(key[0] == 0 for key in numbers)
