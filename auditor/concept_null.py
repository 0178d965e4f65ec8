"""The null of goal ``concept``: is the forgotten concept one more of those that this very model never learnt?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from auditor import statistics
from auditor.policy import Policy
from auditor.records.evidence import DecoyResult, Interval, SpreadRecord
from auditor.records.score import Score
from auditor.statistics import Limits, Spread


@dataclass(frozen=True, kw_only=True)
class ConceptResult:
    """One check held against control concepts.

    Attributes:
        null: mean T of the control concepts on the unlearned model.
        limits: of ρ; None where the original does not stand above its own controls.
        resolution: w, from the original and its controls alone.
        p_value: against ρ ≤ τ_suppressed.
        p_trace: against ρ ≤ 0.
        p_deficit: against ρ ≥ 0.
        spread: what the interval was computed from.
        decoys: by name.
    """

    null: float
    limits: Limits | None
    resolution: float | None
    p_value: float | None
    p_trace: float | None
    p_deficit: float | None
    spread: SpreadRecord
    decoys: dict[str, DecoyResult]


def against_controls(
    unlearned: Score,
    original: Score,
    decoys: Mapping[str, Score],
    chosen: tuple[str, ...],
    policy: Policy,
    alpha: float,
) -> ConceptResult:
    """Hold every model's T against the control concepts measured on the same model.

    With C controls and s their spread on the unlearned model, d = T(u) − mean_c T_c(u), Δ = T(o) − mean_c T_c(o), and
    the limits of ρ are Fieller's with K = C and C − 1 degrees of freedom: a prediction interval for one further
    concept that the model never learnt. The spread is between concepts, which differ far more than models do,
    and between the examples of each, so that nothing is added for either.

    Args:
        unlearned: its score, with control concepts.
        original: the same; it sets Δ and w.
        decoys: of the suppressed copies, by name.
        chosen: readings that make up T.
        policy: thresholds.
        alpha: level at which a decoy counts as detected.
    """
    own, bar = _Position.of(unlearned, chosen), _Position.of(original, chosen)
    limits, p = _rho(own, bar.above, policy)
    tolerance = policy.thresholds.tolerance
    return ConceptResult(
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
            floor=1.0 / unlearned.n_examples,
        ),
        decoys={name: _decoy(_Position.of(score, chosen), bar.above, policy, alpha) for name, score in decoys.items()},
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


def _decoy(position: _Position, delta: float, policy: Policy, alpha: float) -> DecoyResult:
    limits, _ = _rho(position, delta, policy)
    bar = policy.thresholds.tolerance
    p = None if limits is None else statistics.p_above(position.above, delta, position.spread, bar)
    rho = None if limits is None else Interval(value=limits.value, low=limits.low, high=limits.high)
    return DecoyResult(rho=rho, p_value=p, detected=p is not None and p < alpha)
