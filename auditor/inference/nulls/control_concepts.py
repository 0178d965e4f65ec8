"""The null of goal ``concept``: is the forgotten concept one more of those that this very model never learnt?"""

from dataclasses import dataclass

import numpy as np

from auditor.checks.sets import CONTROL_CONCEPTS
from auditor.inference import statistics
from auditor.inference.compared import Comparison, Question, interval
from auditor.inference.statistics import Limits, Spread
from auditor.records.evidence import DecoyResult, SpreadRecord
from auditor.records.policy import Policy
from auditor.records.score import Score

KIND: str = "controls"
WORDS: str = "the mean of the never-trained control concepts on the same model"
RANK: int = 10


def compare(asked: Question) -> Comparison | None:
    """Hold every model's T against the control concepts measured on the same model.

    With C controls and s their spread on the unlearned model, d = T(u) − mean_c T_c(u), Δ = T(o) − mean_c T_c(o), and
    the limits of ρ are Fieller's with K = C and C − 1 degrees of freedom: a prediction interval for one further
    concept that the model never learnt. The spread is between concepts, which differ far more than models do,
    and between the examples of each, so that nothing is added for either.
    """
    subject, policy = asked.scores.unlearned, asked.policy
    # Under goal data concepts are no null: they differ from one another far more than retrained models do.
    if asked.goal != "concept" or len(subject.concepts(asked.chosen)) < CONTROL_CONCEPTS:
        return None
    # Each model against concepts measured on itself. Power comes from the original's position alone, on which the
    # subject has no influence.
    own, bar = _Position.of(subject, asked.chosen), _Position.of(asked.scores.original, asked.chosen)
    limits, p = _rho(own, bar.above, policy)
    # Machines differ by as much in ρ: what exceeds 0 by less is neither a trace nor a deficit.
    tolerance = policy.thresholds.tolerance
    return Comparison(
        against="its control concepts",
        null=own.centre,
        limits=limits,
        resolution=statistics.resolution(bar.above, bar.spread),
        p_value=p,
        p_trace=None if limits is None else statistics.p_above(own.above, bar.above, own.spread, tolerance),
        p_deficit=None if limits is None else statistics.p_below(own.above, bar.above, own.spread, -tolerance),
        spread=SpreadRecord(
            value=own.spread.value,
            degrees=own.spread.degrees,
            n_references=own.spread.n_references,
            sampling_variance=0.0,
            recipe_variance=0.0,
            floor=1.0 / subject.n_examples,
        ),
        decoys={
            name: _decoy(_Position.of(score, asked.chosen), bar.above, policy)
            for name, score in asked.scores.decoys.items()
        },
    )


@dataclass(frozen=True, kw_only=True)
class _Position:
    """Where the forgotten concept stands among the control concepts of one model.

    Attributes:
        centre: mean T of the controls.
        above: T of the forgotten concept less that mean.
        spread: of the controls, with their number less one degrees of freedom.
    """

    centre: float
    above: float
    spread: Spread

    @classmethod
    def of(cls, score: Score, chosen: tuple[str, ...]) -> "_Position":
        controls = score.concepts(chosen)
        spread = statistics.pooled_spread(controls, floor=1.0 / score.n_examples)
        assert spread is not None, "the caller counted the controls"
        centre = float(np.mean(controls))
        return cls(centre=centre, above=score.total(chosen) - centre, spread=spread)


def _rho(position: _Position, delta: float, policy: Policy) -> tuple[Limits | None, float | None]:
    limits = statistics.fieller(position.above, delta, position.spread)
    tau = policy.thresholds.suppressed + policy.thresholds.tolerance
    p = None if limits is None else statistics.p_above(position.above, delta, position.spread, tau)
    return limits, p


def _decoy(position: _Position, delta: float, policy: Policy) -> DecoyResult:
    limits, _ = _rho(position, delta, policy)
    bar = policy.thresholds.tolerance
    p = None if limits is None else statistics.p_above(position.above, delta, position.spread, bar)
    return DecoyResult(rho=interval(limits), p_value=p, detected=p is not None and p < policy.alpha_each)
