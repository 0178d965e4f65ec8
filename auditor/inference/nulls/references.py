"""The null of models trained without the forget set: the strongest there is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from auditor.inference import statistics
from auditor.inference.compared import Comparison, Question, interval
from auditor.inference.statistics import Limits, Spread
from auditor.records.evidence import DecoyResult, SpreadRecord
from auditor.records.policy import Policy
from auditor.records.score import Score

KIND: str = "references"
WORDS: str = "the mean of the references"
RANK: int = 20
# Of a mean of as many normal draws, in the limit of many; for three draws it is 1.35, so this errs on the wide side.
_VARIANCE_OF_MEDIAN = np.pi / 2


def compare(asked: Question) -> Comparison | None:
    """Hold the subject against the counted references: is it one more of them?"""
    # Where chance divided the subjects any model that saw neither side will do, which is no sample of retrains.
    if asked.by_chance:
        return None
    # A single reference shows no spread; only calibration can lend it one.
    if len(asked.scores.references) < (2 if asked.prior is None else 1):
        return None
    yardstick, subject = _yardstick(asked), asked.scores.unlearned
    sampling = yardstick.sampling_variance(subject)
    spread = yardstick.spread(sampling)
    assert spread is not None, "guaranteed by two references or a calibrated spread"
    limits, p = _limits(subject, yardstick, spread), _p_values(subject, yardstick, spread, asked.policy)
    # Resolution decides on power, in which the subject may have no part: so one more reference stands in its place.
    typical = yardstick.spread(yardstick.typical_sampling_variance())
    return Comparison(
        against="the references",
        null=yardstick.null,
        limits=limits,
        resolution=statistics.resolution(yardstick.delta, typical) if typical is not None else None,
        p_value=p.accusation if limits is not None else None,
        p_trace=p.trace if limits is not None else None,
        p_deficit=p.deficit if limits is not None else None,
        spread=SpreadRecord(
            value=spread.value,
            degrees=spread.degrees,
            n_references=spread.n_references,
            sampling_variance=sampling,
            recipe_variance=yardstick.recipe_variance,
            floor=yardstick.floor,
        ),
        decoys={name: _decoy(score, yardstick, asked.policy) for name, score in asked.scores.decoys.items()},
    )


@dataclass(frozen=True, kw_only=True)
class _Yardstick:
    """What every model is held against: T of the original, the null, and how far one more null model may fall.

    Attributes:
        chosen: readings that make up T.
        original: T(o).
        null: r̄.
        examples: per-example contributions of the references, [K, n]; None where there are none.
        draws: T of the references by each of the check's own draws, [K, draws]; None where there are none.
        recipe_variance: excess variance of references of a perturbed recipe.
        floor: smallest believable spread: 1/n_eval, or the check's own share of Δ where that is more.
        prior: (s₀, d₀) of the policy.
    """

    chosen: tuple[str, ...]
    original: float
    null: float
    references: tuple[float, ...]
    examples: np.ndarray | None
    draws: np.ndarray | None
    recipe_variance: float
    floor: float
    prior: tuple[float, float]

    @property
    def delta(self) -> float:
        """Δ = T(o) − r̄."""
        return self.original - self.null

    def sampling_variance(self, score: Score) -> float:
        """Of d, from the examples measured and the check's own draws; 0 where it has neither."""
        # The value is the median over a check's own draws (Reading.draws), which varies more than their mean would.
        return _paired(score.examples(self.chosen), self.examples) + _VARIANCE_OF_MEDIAN * _paired(
            score.draws(self.chosen), self.draws
        )

    def spread(self, sampling_variance: float) -> Spread | None:
        """s̃ with a given sampling variance."""
        return statistics.pooled_spread(
            self.references,
            sampling_variance=sampling_variance + self.recipe_variance,
            floor=self.floor,
            prior_spread=self.prior[0],
            prior_degrees=self.prior[1],
        )

    def typical_sampling_variance(self) -> float:
        """What a further reference would have: each reference against the mean of the others."""
        return _typical(self.examples) + _VARIANCE_OF_MEDIAN * _typical(self.draws)


def _paired(own: tuple[float, ...], references: np.ndarray | None) -> float:
    if references is None or not own:
        return 0.0
    return statistics.paired_sampling_variance(np.asarray(own), references)


def _typical(references: np.ndarray | None) -> float:
    """Mean over references of :func:`_paired` against the others."""
    if references is None or len(references) < 2:
        return 0.0
    return float(
        np.mean(
            [
                statistics.paired_sampling_variance(row, np.delete(references, i, axis=0))
                for i, row in enumerate(references)
            ]
        )
    )


def _yardstick(asked: Question) -> _Yardstick:
    scores, chosen = asked.scores, asked.chosen
    totals = tuple(score.total(chosen) for score in scores.references.values())
    rows = [score.examples(chosen) for score in scores.references.values()]
    draws = [score.draws(chosen) for score in scores.references.values()]
    null, original = float(np.mean(totals)), scores.original.total(chosen)
    return _Yardstick(
        chosen=chosen,
        original=original,
        null=null,
        references=totals,
        # A list of samples is all that is asked about: no other examples could have been drawn.
        examples=np.asarray(rows) if asked.population and all(rows) else None,
        draws=np.asarray(draws) if all(draws) else None,
        recipe_variance=_recipe_variance(totals, [s.total(chosen) for s in scores.perturbed.values()]),
        # References that agree by luck would make the interval too narrow: no score is finer than one example in n.
        floor=max(1.0 / scores.unlearned.n_examples, asked.check.least_spread * (original - null)),
        prior=(asked.prior.s0, asked.prior.d0) if asked.prior is not None else (0.0, 0.0),
    )


def _recipe_variance(references: Sequence[float], perturbed: Sequence[float]) -> float:
    """How much further references of a perturbed recipe fall than one more of the same recipe would."""
    if not perturbed or len(references) < 2:
        return 0.0
    # What one more reference deviates from the mean of K: by its own variance and by that of the mean.
    expected = float(np.var(references, ddof=1)) * (1 + 1 / len(references))
    found = float(np.mean((np.asarray(perturbed) - np.mean(references)) ** 2))
    # Perturbed references only widen: that a few of them agree makes no recipe more certain.
    return max(found - expected, 0.0)


class _PValues(NamedTuple):
    accusation: float
    trace: float
    deficit: float


def _p_values(score: Score, yardstick: _Yardstick, spread: Spread, policy: Policy) -> _PValues:
    """Each has to exceed its bar by more than machines differ. They mean nothing where there are no limits."""
    d, bars = score.total(yardstick.chosen) - yardstick.null, policy.thresholds
    return _PValues(
        accusation=statistics.p_above(d, yardstick.delta, spread, bars.suppressed + bars.tolerance),
        trace=statistics.p_above(d, yardstick.delta, spread, bars.tolerance),
        deficit=statistics.p_below(d, yardstick.delta, spread, -bars.tolerance),
    )


def _limits(score: Score, yardstick: _Yardstick, spread: Spread) -> Limits | None:
    limits = statistics.fieller(score.total(yardstick.chosen) - yardstick.null, yardstick.delta, spread)
    if limits is None or score.hits is None:
        return limits
    return statistics.widen_for_exact_rate(
        limits, hits=score.hits, n=score.n_examples, null=yardstick.null, delta=yardstick.delta
    )


def _decoy(score: Score, yardstick: _Yardstick, policy: Policy) -> DecoyResult:
    spread = yardstick.spread(yardstick.sampling_variance(score))
    if spread is None or yardstick.delta <= 0:
        return DecoyResult(rho=None, p_value=None, detected=False)
    limits = _limits(score, yardstick, spread)
    # A trace is what would have kept the decoy from DELETED (rule 4c), at the hardest step of Holm's ladder.
    p = _p_values(score, yardstick, spread, policy).trace
    return DecoyResult(rho=interval(limits), p_value=p, detected=limits is not None and p < policy.alpha_each)
