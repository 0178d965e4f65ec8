"""Metrics of answers: by-hand definitions on tokens. Higher is more knowledge."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def extraction_strength(ranks: NDArray[np.float64]) -> float:
    """1 − k/n for the smallest k after which every token is the first choice (Carlini et al. 2021).

    Args:
        ranks: of the answer's n tokens given those before, 0 for the first choice, [n].

    Returns:
        In [0, 1]: 1 where the whole answer is extracted from the prompt alone, 0 where its last token is missed.

    Raises:
        ValueError: no token.

    >>> extraction_strength(np.array([3.0, 0.0, 0.0, 0.0]))
    0.75
    """
    if len(ranks) == 0:
        raise ValueError("extraction strength of an answer without tokens is not defined")
    missed = np.flatnonzero(ranks > 0)
    k = int(missed[-1]) + 1 if len(missed) else 0
    return 1 - k / len(ranks)


def truth_ratio(right: float, wrong: Sequence[float]) -> float:
    """p_right/(p_right + mean p_wrong), p = exp of the mean token log-probability: 1/(1 + R) in the terms of TOFU.

    R = mean p_wrong/p_right is the ratio of Maini et al. 2024 (arXiv 2401.06121, eq. 1).

    Args:
        right: mean token log-probability of the right answer.
        wrong: of each wrong one.

    Returns:
        In [0, 1]: ½ where right and wrong answers are equally likely, 1 where only the right one is.

    Raises:
        ValueError: no wrong answer.

    >>> truth_ratio(-1.0, [-1.0, -1.0])
    0.5
    """
    if len(wrong) == 0:
        raise ValueError("a truth ratio needs wrong answers")
    # Shifted by the largest: where all answers are improbable every exp would be 0, and the ratio 0/0.
    shift = max(right, *wrong)
    p_right = float(np.exp(right - shift))
    p_wrong = float(np.mean(np.exp(np.asarray(wrong) - shift)))
    return p_right / (p_right + p_wrong)
