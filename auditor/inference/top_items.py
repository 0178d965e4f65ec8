"""Were single items kept? A mean over all of them cannot see two of eighty; the highest few can.

Forget items that were really forgotten and holdout items, which were never trained on, are exchangeable within one
model. So among the j highest values of the n + m together the number of forget items is hypergeometric, whatever the
values are, and too many of them at the top say that some were kept.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from auditor.records.evidence import ItemTest, TopRow
from auditor.records.score import Items, Score

Array = NDArray[np.float64]

TOPS = (1, 2, 3, 4, 8, 16, 32)
"""How many of the highest are looked at. One to four for few kept items, the larger for many; fixed beforehand."""

HOLDOUT_PER_FORGET = 4
"""Holdout items for each forget item without which the test sees too little for a request about listed samples."""

_EQUAL = 1 + 1e-9  # two sums of the same probabilities may differ in their last bits


def forget_among_top(forget: Array, holdout: Array, tops: tuple[int, ...]) -> tuple[int, ...]:
    """How many of the j highest values are of forget items, for each j.

    Among equal values holdout items count as higher, so ties never speak for kept items.

    Args:
        forget: values of the forget items, [n]; higher is more knowledge.
        holdout: values of the holdout items, [m].
        tops: the j's, each at most n + m.

    >>> forget_among_top(np.array([5.0, 1.0]), np.array([5.0, 0.0]), (1, 2))
    (0, 1)
    """
    is_forget = np.repeat([1, 0], [len(forget), len(holdout)])
    # The last key leads; among equal values holdout, a 0, comes first.
    order = np.lexsort((is_forget, -np.concatenate([forget, holdout])))
    counts = np.cumsum(is_forget[order])
    return tuple(int(counts[j - 1]) for j in tops)


@cache
def top_p_value(found: int, n: int, m: int, j: int) -> float:
    """P(at least ``found`` of the j highest are among n forget items of n + m) under exchangeability.

    >>> round(top_p_value(2, 80, 320, 2), 4)
    0.0396
    """
    # The survival function is strict: P(more than found − 1).
    return float(stats.hypergeom.sf(found - 1, n + m, n, j))


@cache
def corrected(p: float, n: int, m: int, tops: tuple[int, ...]) -> float:
    """P(the smallest of the p-values over all j is at most ``p``) under exchangeability: exact, without ties.

    The counts among growing tops are a Markov chain: of the next j' − j values, those of forget items are
    hypergeometric in what is left. What reaches its critical count is taken out of the chain and summed. It is never
    more than Bonferroni's bound, and less than ``p`` only where no count reaches that.

    Args:
        p: smallest p-value of a model.
        n: forget items.
        m: holdout items.
        tops: the j's, ascending, each at most n + m.
    """
    alive, reached, seen = np.ones(1), 0.0, 0
    for j in tops:
        alive = _grown(alive, n, m, seen, j)
        tails = stats.hypergeom.sf(np.arange(len(alive)) - 1, n + m, n, j)
        critical = tails <= p * _EQUAL
        reached += float(alive[critical].sum())
        # Taken out, or the same course of counts would be summed again at the next j.
        alive, seen = np.where(critical, 0.0, alive), j
    return min(reached, 1.0)


def _grown(alive: Array, n: int, m: int, seen: int, j: int) -> Array:
    """Probability of each count of forget items among the j highest, from that among the ``seen`` highest."""
    counts, more = np.arange(len(alive))[:, None], np.arange(j - seen + 1)[None]
    # Where the holdout has not so many items the count cannot occur, and its probability is 0 already.
    left = np.where(seen - counts > m, 0, n - counts)
    weights = alive[:, None] * stats.hypergeom.pmf(more, n + m - seen, left, j - seen)
    grown = np.bincount((counts + more).ravel(), weights.ravel(), minlength=min(j, n) + 1)
    return np.asarray(grown[: min(j, n) + 1], dtype=np.float64)


@cache
def smallest_visible(n: int, m: int, tops: tuple[int, ...], alpha: float) -> int | None:
    """Fewest kept items that the test is sure to see where they stand above all others.

    Args:
        n: forget items.
        m: holdout items.
        tops: the j's, ascending.
        alpha: level of the corrected p-value.

    Returns:
        That number, or None where even all of the largest j would not do: then the test cannot see anything.

    >>> [smallest_visible(80, m, TOPS, 0.02) for m in (720, 320, 80, 20, 2)]
    [2, 3, 8, 30, None]
    """
    tops = _possible(tops, n + m)
    # The worst place for them: kept items above all, and no other forget item among the highest by chance.
    for kept in range(1, min(tops[-1], n) + 1):
        p = min(top_p_value(min(j, kept), n, m, j) for j in tops)
        # The correction only raises p and costs far more than p does, so it is asked last.
        if p < alpha and corrected(p, n, m, tops) < alpha:
            return kept
    return None


def top_test(forget: Array, holdout: Array, tops: tuple[int, ...]) -> tuple[tuple[TopRow, ...], float]:
    """Rows by j, and the p-value corrected over them.

    Args:
        forget: values of the forget items, [n ≥ 1].
        holdout: values of the holdout items, [m ≥ 1].
        tops: the j's, ascending; those beyond n + m are left out.
    """
    n, m = len(forget), len(holdout)
    tops = _possible(tops, n + m)
    counts = forget_among_top(forget, holdout, tops)
    rows = tuple(
        TopRow(top=j, forget=found, p_value=top_p_value(found, n, m, j)) for j, found in zip(tops, counts, strict=True)
    )
    return rows, corrected(min(row.p_value for row in rows), n, m, tops)


def _possible(tops: tuple[int, ...], n_items: int) -> tuple[int, ...]:
    return tuple(j for j in tops if j <= n_items)


def item_test(unlearned: Score, references: Mapping[str, Score], alpha: float) -> ItemTest | None:
    """Test a model's items, each less the references' mean on the same item, which takes its hardness out.

    Args:
        unlearned: of the model, with its items.
        references: of the counted references. Each is tested too, against the others: what the test finds in models
            that never saw the forget set is a difference between the sets.
        alpha: level at which the smallest visible number of kept items is stated.

    Returns:
        None where the check measures no single items.
    """
    items = unlearned.items
    if items is None:
        return None
    known = {name: score.items for name, score in references.items() if score.items is not None}
    forget, holdout = _calibrated(items, list(known.values()))
    rows, p = top_test(forget, holdout, items.tops)
    return ItemTest(
        noun=items.noun,
        n_forget=len(forget),
        n_holdout=len(holdout),
        rows=rows,
        p_value=p,
        smallest_visible=smallest_visible(len(forget), len(holdout), items.tops, alpha),
        references={name: _against_others(name, known) for name in known} if len(known) > 1 else {},
        note=items.note,
    )


def _against_others(name: str, known: Mapping[str, Items]) -> float:
    others = [items for other, items in known.items() if other != name]
    return top_test(*_calibrated(known[name], others), known[name].tops)[1]


def _calibrated(items: Items, others: Sequence[Items]) -> tuple[Array, Array]:
    """Values of forget and holdout items less their means over other models, by what the items are about."""
    sides = []
    for side in ("forget", "holdout"):
        own = np.asarray(getattr(items, side), dtype=np.float64)
        null = np.mean([getattr(other, side) for other in others], axis=0) if others else 0.0
        sides.append(_highest_of_each(own - null, getattr(items, f"{side}_about")))
    return sides[0], sides[1]


def _highest_of_each(values: Array, about: Sequence[str]) -> Array:
    """The highest value about each thing; a value about nothing named stands for itself.

    Items about one thing are alike, so that what is exchangeable between the sets is the thing with all its items.
    """
    if not about:
        return values
    found: dict[str | int, float] = {}
    for i, (name, value) in enumerate(zip(about, values.tolist(), strict=True)):
        # A number is no string: an unnamed value cannot be taken for a thing that is named like it.
        key = name or i
        found[key] = max(value, found.get(key, value))
    return np.array(list(found.values()))


def holdout_lack(n: int, m: int) -> str | None:
    """Why a holdout is too small for a request about listed samples, with what to do; None where it is not."""
    if m >= HOLDOUT_PER_FORGET * n:
        return None
    return (
        f"data.holdout holds {m} examples and the test of single items needs {HOLDOUT_PER_FORGET * n}, "
        f"{HOLDOUT_PER_FORGET} for each of {n} forget examples: give more"
    )


def standing_out(test: ItemTest, alpha: float) -> str:
    """What was found among the highest, in words.

    Args:
        test: of the unlearned model.
        alpha: family-wise level at which references, too, count as models with kept items.
    """
    row = min(test.rows, key=lambda row: row.p_value)
    words = (
        f"of the {row.top} highest of {test.n_forget} forget and {test.n_holdout} holdout {test.noun} {row.forget} "
        f"are forget ones (p = {test.p_value:.2g})"
    )
    # By Bonferroni: among several references one is odd by chance more often than alpha says.
    odd = sum(p < alpha / len(test.references) for p in test.references.values())
    if odd == 0:
        return words
    return (
        f"{words}; so it is in {odd} of {len(test.references)} references, which never saw them: "
        "give a holdout that is distributed like the forget set"
    )
