"""Are some examples still where the original has them, while others pull the mean down?

A mean of unbounded margins is that of a retrained model also where half of the examples kept the original's margin and
the other half were pushed far below.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditor.scores import Score
from auditor.statistics import p_above, pooled_spread

LEVEL = 0.02
"""At which a share is held to be above that of the references, one-sided."""


def kept_share(score: Score, original: Score, references: Sequence[Score], reading: str) -> float | None:
    """Share of examples nearer to the original's value than to the references' mean, in [0, 1].

    Args:
        score: of one model; a reference is held against the others.
        original: its value of an example counts where it lies above that mean.
        references: two at least.
        reading: whose examples are compared, the same in every model.

    Returns:
        None where the original lies above the mean in no example.
    """
    null = np.mean([_examples(other, reading) for other in references if other is not score], axis=0)
    gap = _examples(original, reading) - null
    counted = gap > 0
    if not counted.any():
        return None
    return float(np.mean((_examples(score, reading) - null)[counted] > gap[counted] / 2))


def part_is_kept(score: Score, original: Score, references: Sequence[Score], reading: str) -> str | None:
    """Where the mean speaks for deletion and single examples do not, why, in one clause.

    The share of kept examples is held against the references' own, as one more reference's would be; both as arcsin √p,
    in which a share spreads alike wherever it lies (Anscombe 1948), no less than one of n draws does.
    """
    if len(references) < 2 or score is original or any(score is other for other in references):
        return None
    own = kept_share(score, original, references, reading)
    shares = [kept_share(other, original, references, reading) for other in references]
    known = [share for share in shares if share is not None]
    spread = pooled_spread(np.arcsin(np.sqrt(known)).tolist(), floor=1 / (2 * math.sqrt(score.n_examples)))
    if own is None or spread is None or _mean_index(score, original, references, reading) >= 1 / 2:
        return None
    above = math.asin(math.sqrt(own)) - float(np.arcsin(np.sqrt(known)).mean())
    if p_above(above, 1.0, spread, 0.0) >= LEVEL:
        return None
    return (
        f"{100 * own:.0f} % of the examples lie nearer to the original than to the references, of which "
        f"{100 * np.mean(known):.0f} % do among themselves: a part is kept, and the mean hides it"
    )


def _mean_index(score: Score, original: Score, references: Sequence[Score], reading: str) -> float:
    null = float(np.mean([_examples(other, reading).mean() for other in references]))
    gap = float(_examples(original, reading).mean()) - null
    return (float(_examples(score, reading).mean()) - null) / gap if gap > 0 else 0.0


def _examples(score: Score, reading: str) -> NDArray[np.float64]:
    return np.asarray(score.readings[reading].examples, dtype=np.float64)
