"""Fluency of what a model says: how varied its words are, by the entropy of their n-grams.

The mean of bigram and trigram entropy weighted 1 to 2, in bits, as RWKU measures it (Jin et al. 2024, arXiv
2406.10890). A model that says one word over and over has 0. It grows with the length of a text, so that numbers are
compared between models that were asked the same, and nowhere else. Measured beside the score; nothing is decided by it.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

FLUENCY = "fluency of what it says (n-gram entropy, bits)"
FEWEST_WORDS = 4
"""Of an answer, so that a text of its length has several trigrams."""
_WEIGHTS = {2: 1 / 3, 3: 2 / 3}


def fluency(answers: Sequence[str], said: Sequence[str]) -> dict[str, float]:
    """Mean over the texts said to questions whose answers have four words or more; empty without any.

    Args:
        answers: by which it is decided whether a text counts: the same ones for every model.
        said: as many texts.
    """
    long = [text for answer, text in zip(answers, said, strict=True) if len(answer.split()) >= FEWEST_WORDS]
    return {FLUENCY: float(np.mean([entropy(text) for text in long]))} if long else {}


def entropy(text: str) -> float:
    """Of one text, in bits; 0 where it has no bigram.

    >>> entropy("no no no no no")
    0.0
    >>> round(entropy("one two three four five"), 3)
    1.723
    """
    words = text.casefold().split()
    return float(sum(share * _entropy(words, n) for n, share in _WEIGHTS.items()))


def _entropy(words: Sequence[str], n: int) -> float:
    counts = np.array(list(Counter(zip(*(words[i:] for i in range(n)), strict=False)).values()), dtype=np.float64)
    shares = counts / counts.sum() if len(counts) else counts
    return abs(float(-(shares * np.log2(shares)).sum()))
