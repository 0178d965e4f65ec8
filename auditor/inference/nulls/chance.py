"""The null of guessing, where it is known what a model without the knowledge scores."""

import numpy as np

from auditor.inference import statistics
from auditor.inference.compared import Comparison, Question
from auditor.inference.statistics import Spread

KIND: str = "chance"
WORDS: str = "chance"
RANK: int = 40
# Chance is known and not estimated: its share 1/K of the variance is next to none.
_EXACT_NULL_SIZE = 10**6


def compare(asked: Question) -> Comparison | None:
    """Hold the subject against chance; its own examples give the spread."""
    subject, chance = asked.scores.unlearned, asked.scores.unlearned.chance
    if chance is None:
        return None
    own, n = subject.examples(asked.chosen), subject.n_examples
    variance = float(np.var(own, ddof=1)) / len(own) if len(own) > 1 else 0.0
    # A rate of 0 or 1 shows no spread; it is believed to be no less than one example's worth.
    spread = Spread(value=max(variance**0.5, 1.0 / n), degrees=max(len(own) - 1, 1), n_references=_EXACT_NULL_SIZE)
    delta = asked.scores.original.total(asked.chosen) - chance
    limits = statistics.fieller(subject.total(asked.chosen) - chance, delta, spread)
    if limits is not None and subject.hits is not None:
        limits = statistics.widen_for_exact_rate(limits, hits=subject.hits, n=n, null=chance, delta=delta)
    return Comparison(
        against="chance",
        null=chance,
        limits=limits,
        cannot_clear="without references it is held against chance, which cannot clear",
    )
