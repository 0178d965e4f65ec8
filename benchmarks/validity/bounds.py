"""Exact bounds of error rates, and areas under curves, of audited pairs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pairs import Row
from scipy.stats import binomtest

from auditor.inference.auc import auc as mann_whitney

LEVEL = 0.95


@dataclass(frozen=True)
class Rate:
    """How often something happened, with Clopper-Pearson limits over pairs and over originals.

    Pairs of one original share its weights and its references, so they do not count as independent trials: the second
    limits take an original in which it happened at least once as one success.

    Attributes:
        count: pairs in which it happened.
        pairs: pairs in all.
        limits: exact 95 % limits of count / pairs.
        originals: originals in which it happened at least once.
        all_originals: originals in all.
        clustered: exact 95 % limits of originals / all_originals.
    """

    count: int
    pairs: int
    limits: tuple[float, float]
    originals: int
    all_originals: int
    clustered: tuple[float, float]

    def __str__(self) -> str:
        share = f"{self.count} of {self.pairs} [{_percent(self.limits)}]"
        return f"{share}; originals {self.originals} of {self.all_originals} [{_percent(self.clustered)}]"


def rate(rows: Sequence[Row], happened: Callable[[Row], bool]) -> Rate:
    """The rate of an outcome among pairs; at least one pair."""
    hit = [row for row in rows if happened(row)]
    originals = {row["original"] for row in rows}
    # One is enough: pairs of one original share weights and references and fail together.
    struck = {row["original"] for row in hit}
    return Rate(
        count=len(hit),
        pairs=len(rows),
        limits=exact(len(hit), len(rows)),
        originals=len(struck),
        all_originals=len(originals),
        clustered=exact(len(struck), len(originals)),
    )


def exact(count: int, n: int) -> tuple[float, float]:
    """Clopper-Pearson limits at 95 %.

    >>> round(exact(0, 100)[1], 4)
    0.0362
    """
    found = binomtest(count, n).proportion_ci(LEVEL, method="exact")
    return float(found.low), float(found.high)


def auc(positive: Iterable[float], negative: Iterable[float]) -> float | None:
    """Area under the ROC curve: how often a positive scores above a negative; None without either."""
    yes, no = list(positive), list(negative)
    if not yes or not no:
        return None
    return mann_whitney(yes, no)


def best_threshold(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The threshold between observed values with the highest balanced accuracy, "above it" meaning positive."""
    values = np.unique([*positive, *negative])
    # Between values, and beyond both ends: where nothing is told apart the best threshold may call all alike.
    cuts = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1] + 1]])
    scores = [balanced(positive, negative, float(cut)) for cut in cuts]
    return float(cuts[int(np.argmax(scores))])


def balanced(positive: Sequence[float], negative: Sequence[float], threshold: float) -> float:
    """Mean of the shares of positives above and negatives not above a threshold."""
    return float((np.mean(np.asarray(positive) > threshold) + np.mean(np.asarray(negative) <= threshold)) / 2)


def _percent(limits: tuple[float, float]) -> str:
    return f"{100 * limits[0]:.1f}–{100 * limits[1]:.1f} %"
