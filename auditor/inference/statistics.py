"""The statistics behind the verdict: pure functions on numbers, nothing else.

Notation follows the design: ``K`` references with mean ``r̄`` and spread ``s``; ``d = T(u) − r̄``;
``Δ = T(o) − r̄``; residual knowledge index ``ρ = d/Δ`` (0: like a model that never saw the forget set,
1: like the original). Higher is always more knowledge.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
"""With which every limit holds by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """How far one more reference would be expected to fall from the mean of the references.

    Attributes:
        value: s̃, in units of the score; > 0.
        degrees: ν, degrees of freedom of s̃; ≥ 1.
        n_references: K ≥ 1.
    """

    value: float
    degrees: float
    n_references: int


def pooled_spread(
    references: Sequence[float],
    *,
    sampling_variance: float = 0.0,
    floor: float = 0.0,
    prior_spread: float = 0.0,
    prior_degrees: float = 0.0,
) -> Spread | None:
    """Combine the spread of the references with calibration and example sampling.

    s̃² = [d₀ s₀² + (K − 1) s²]/(d₀ + K − 1) + sampling variance, never below ``floor``².

    Args:
        references: scores of the K references, in units of the score.
        sampling_variance: paired example-sampling variance of ``d``; 0 where the request is a list.
        floor: smallest believable spread, 1/n_eval.
        prior_spread: s₀ from calibration.
        prior_degrees: d₀, its weight; 0 outside the calibrated domain.

    Returns:
        The spread, or None where nothing is known of it (fewer than two references and no calibration).

    >>> round(pooled_spread([0.1, 0.2, 0.3]).value, 3)
    0.1
    >>> pooled_spread([0.1]) is None
    True
    """
    k = len(references)
    degrees = prior_degrees + max(k - 1, 0)
    if k == 0 or degrees <= 0:
        return None
    own = float(np.var(references, ddof=1)) if k > 1 else 0.0
    variance = (prior_degrees * prior_spread**2 + (k - 1) * own) / degrees + sampling_variance
    # Above 0 whatever the floor, since p-values divide by it.
    return Spread(value=max(math.sqrt(variance), floor, 1e-12), degrees=degrees, n_references=k)


def paired_sampling_variance(unlearned: NDArray[np.float64], references: NDArray[np.float64]) -> float:
    """Variance of ``d`` from having measured these examples and not others of the same population.

    Args:
        unlearned: per-example contributions of the unlearned model, shape [n], mean = T(u).
        references: the same of each reference, shape [K, n].

    Returns:
        var_i(x_u,i − mean_k x_k,i)/n, in squared units of the score; 0 where n < 2.

    >>> paired_sampling_variance(np.array([1.0, 1.0]), np.array([[0.0, 0.0]]))
    0.0
    """
    if unlearned.shape[0] < 2:
        return 0.0
    # Paired by example: how hard an example is for all models alike cancels out.
    difference = unlearned - references.mean(axis=0)
    return float(np.var(difference, ddof=1) / difference.shape[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """A residual knowledge index with its one-sided 95 % limits; low ≤ value ≤ high."""

    value: float
    low: float
    high: float


def fieller(d: float, delta: float, spread: Spread) -> Limits | None:
    """Prediction interval for ρ: is the unlearned model exchangeable with one more reference?

    The limits are the roots in ρ of (d − ρΔ)² = t² s̃² (1 + (1 − ρ)²/K), with t the one-sided
    95 % quantile of Student's t at ν degrees (Fieller 1954).

    Args:
        d: T(u) − r̄.
        delta: T(o) − r̄.
        spread: s̃ with its degrees and K.

    Returns:
        The limits, or None where Δ ≤ 0 or Δ² ≤ t² s̃²/K: then no interval exists and the check is blind.

    >>> fieller(0.0, 1.0, Spread(value=0.01, degrees=4, n_references=5)).high < 0.05
    True
    >>> fieller(0.0, 0.01, Spread(value=0.1, degrees=4, n_references=5)) is None
    True
    """
    k = spread.n_references
    # With c = t² s̃² the equation is a ρ² − 2 half_b ρ + d² − c (1 + 1/K) = 0; where a ≤ 0 its solutions make no
    # interval.
    c = (float(stats.t.ppf(CONFIDENCE, spread.degrees)) * spread.value) ** 2
    a = delta**2 - c / k
    if delta <= 0 or a <= 0:
        return None
    half_b = d * delta - c / k
    # Real roots exist, since at ρ = d/Δ the left side of the equation is 0: below 0 this is rounding alone.
    root = math.sqrt(max(half_b**2 - a * (d**2 - c * (1 + 1 / k)), 0.0))
    return Limits(value=d / delta, low=(half_b - root) / a, high=(half_b + root) / a)


def p_above(d: float, delta: float, spread: Spread, tau: float) -> float:
    """One-sided p-value against ρ ≤ τ, by the same model as :func:`fieller`.

    >>> p_above(1.0, 1.0, Spread(value=0.01, degrees=4, n_references=5), 0.25) < 1e-4
    True
    """
    # d − τΔ holds r̄ (1 − τ) times, hence its share of the variance; T(o) is one given model and adds none.
    scale = spread.value * math.sqrt(1 + (1 - tau) ** 2 / spread.n_references)
    return float(stats.t.sf((d - tau * delta) / scale, spread.degrees))


def p_below(d: float, delta: float, spread: Spread, tau: float) -> float:
    """One-sided p-value against ρ ≥ τ, by the same model as :func:`fieller`.

    >>> p_below(-1.0, 1.0, Spread(value=0.01, degrees=4, n_references=5), 0.0) < 1e-4
    True
    """
    return 1.0 - p_above(d, delta, spread, tau)


def resolution(delta: float, spread: Spread) -> float | None:
    """Resolution w = t s̃ √(1 + 1/K)/Δ: the smallest residue the check can rule out, in units of ρ.

    Returns:
        w, or None where Δ ≤ 0: the check does not tell original from references at all.
    """
    if delta <= 0:
        return None
    t = float(stats.t.ppf(CONFIDENCE, spread.degrees))
    return t * spread.value * math.sqrt(1 + 1 / spread.n_references) / delta


def exact_rate_limits(hits: int, n: int) -> tuple[float, float]:
    """Clopper-Pearson limits of a rate, each holding by itself with 95 % confidence.

    >>> low, high = exact_rate_limits(0, 20)
    >>> low, round(high, 3)
    (0.0, 0.139)
    """
    # A two-sided interval at 2·.95 − 1 has limits that hold by themselves at .95 each.
    interval = stats.binomtest(hits, n).proportion_ci(confidence_level=2 * CONFIDENCE - 1, method="exact")
    return float(interval.low), float(interval.high)


def widen_for_exact_rate(limits: Limits, *, hits: int, n: int, null: float, delta: float) -> Limits:
    """Widen the limits of ρ where the unlearned model's rate is 0 or 1 and its spread says nothing.

    Args:
        limits: of ρ, from :func:`fieller`.
        hits: successes of the unlearned model among ``n`` examples.
        n: examples measured.
        null: r̄.
        delta: T(o) − r̄ > 0.
    """
    if hits not in (0, n):
        return limits
    low, high = exact_rate_limits(hits, n)
    return Limits(
        value=limits.value,
        low=min(limits.low, (low - null) / delta),
        high=max(limits.high, (high - null) / delta),
    )


def p_internal_null(value: float, delta: float, null: Sequence[float], tau: float) -> float:
    """Permutation p-value against ρ ≤ τ from a check's own null draws on this model.

    A draw of the null shifted by τ of the original's way stands for a model with residue τ:
    p = (1 + #{null_b + τΔ ≥ T(u)})/(1 + B) (Phipson & Smyth 2010 for the added one).

    Args:
        value: T(u).
        delta: Δ = T(o) − n̄_o: the original above its own baseline, the mean of the null's draws on it.
        null: B draws of the null on the model u, in units of the score.
        tau: residue to reject, in units of ρ.
    """
    draws = np.asarray(null, dtype=np.float64)
    # A gap below 0 would lower the null and make an accusation easier.
    shift = tau * max(delta, 0.0)
    return float((1 + np.count_nonzero(draws + shift >= value)) / (1 + draws.shape[0]))


def internal_null_limits(value: float, delta: float, null: Sequence[float]) -> Limits | None:
    """ρ = (T(u) − n̄_u)/Δ against a check's own null, its limits from the null's quantiles around T(u).

    Args:
        value: T(u).
        delta: Δ = T(o) − n̄_o, as in :func:`p_internal_null`.
        null: draws of the null on u, with mean n̄_u.

    Returns:
        The limits, or None where the original is not above its null's mean.
    """
    draws = np.asarray(null, dtype=np.float64)
    centre = float(draws.mean())
    if delta <= 0:
        return None
    # Crosswise: as far as a draw may lie above the null's mean, so far may T(u) stand too high, and the reverse.
    below, above = np.quantile(draws, [1 - CONFIDENCE, CONFIDENCE])
    rho = (value - centre) / delta
    return Limits(value=rho, low=rho - float(above - centre) / delta, high=rho + float(centre - below) / delta)


def holm(p_values: Mapping[str, float], alpha: float, weights: Mapping[str, float] | None = None) -> set[str]:
    """Names rejected at family-wise level ``alpha``, each with its share of it (Holm 1979, weighted form).

    The next name is the one with the smallest p/w; it is rejected while p ≤ α·w/Σw over the names that are left.

    Args:
        p_values: by name, one family.
        alpha: level of the family, in (0, 1).
        weights: w > 0 by name, fixed before any p-value was seen; 1 for names that have none.

    >>> sorted(holm({"a": 0.001, "b": 0.03, "c": 0.9}, 0.05))
    ['a']
    >>> sorted(holm({"a": 0.008, "b": 0.03}, 0.01)), sorted(holm({"a": 0.008, "b": 0.03}, 0.01, {"a": 9}))
    ([], ['a'])
    """
    share = {name: (weights or {}).get(name, 1.0) for name in p_values}
    # Names break ties, so that the order in which checks were given changes nothing.
    left = sorted(p_values, key=lambda name: (p_values[name] / share[name], name))
    rejected: set[str] = set()
    while left:
        name, total = left[0], sum(share[other] for other in left)
        if p_values[name] > alpha * share[name] / total:
            break
        rejected.add(left.pop(0))
    return rejected


def references_needed(w: float, references: int, wanted: float, most: int = 100) -> int | None:
    """How many references would resolve ``wanted`` if gap and spread stayed what they are.

    Args:
        w: resolution with the references there are, in units of ρ.
        references: how many these are, 2 or more.
        wanted: resolution to reach.
        most: no more than these are advised.

    Returns:
        The smallest number from ``references`` on; None where ``most`` would not do.

    >>> references_needed(0.4, 5, 0.35), references_needed(0.8, 5, 0.35)
    (8, None)
    """

    def factor(k: int) -> float:
        return float(stats.t.ppf(CONFIDENCE, k - 1)) * math.sqrt(1 + 1 / k)

    # w = factor(K) s/Δ; s and Δ stay what they are, so the factor alone has to fall to this.
    enough = factor(references) * wanted / w
    return next((k for k in range(references, most + 1) if factor(k) <= enough), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Clearing:
    """What a primary has to meet for ``DELETED``; see the policy.

    Attributes:
        deleted: τ_deleted, above the upper limit and the resolution.
        over: τ_over; the lower limit lies above −τ_over.
        trace: family-wise level at which ρ ≤ 0 is rejected.
        deficit: family-wise level at which ρ ≥ 0 is rejected.
        tolerance: ρ may differ by this between machines.
    """

    deleted: float = 0.5
    over: float = 0.75
    trace: float = 0.04
    deficit: float = 0.02
    tolerance: float = 0.005


def pass_probability(
    n_references: int,
    gap: float,
    *,
    rho: float = 0.0,
    n_primaries: int = 2,
    clearing: Clearing | None = None,
    n_draws: int = 4000,
    seed: int = 0,
) -> float:
    """How likely the primaries are to call a model deleted, by simulation with d₀ = 0.

    Args:
        n_references: K ≥ 2.
        gap: Δ in units of s.
        rho: residue of the model; 0 for a true retrain.
        n_primaries: independent primary checks that must all clear.
        clearing: what each has to meet; default the default policy's.
        n_draws: simulated audits.
        seed: of the simulation.
    """
    bars = clearing or Clearing()
    random = np.random.default_rng(seed)
    passed = np.ones(n_draws, dtype=bool)
    for _ in range(n_primaries):
        references = random.standard_normal((n_draws, n_references))
        centre, s = references.mean(axis=1), references.std(axis=1, ddof=1)
        d, delta = rho * gap + random.standard_normal(n_draws) - centre, gap - centre
        passed &= _clears(d, delta, s, n_references, bars, n_primaries)
    return float(passed.mean())


def _clears(
    d: NDArray[np.float64], delta: NDArray[np.float64], s: NDArray[np.float64], k: int, bars: Clearing, family: int
) -> NDArray[np.bool_]:
    """Whether one primary of many audits clears. Holm rejects something just where it rejects the smallest p."""
    low, high, w = _simulated_limits(d, delta, s, k)
    scale = s * math.sqrt(1 + 1 / k)
    trace = stats.t.sf((d - bars.tolerance * delta) / scale, k - 1)
    deficit = stats.t.cdf((d + bars.tolerance * delta) / scale, k - 1)
    bounded = (w <= bars.deleted) & (high < bars.deleted) & (low > -bars.over)
    return np.asarray(bounded & (trace > bars.trace / family) & (deficit > bars.deficit / family))


def _simulated_limits(
    d: NDArray[np.float64], delta: NDArray[np.float64], s: NDArray[np.float64], k: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """:func:`fieller` and :func:`resolution` for many audits at once; NaN, which passes no bar, where none exists."""
    t = float(stats.t.ppf(0.95, k - 1))
    c = (t * s) ** 2
    a = np.where((delta > 0) & (delta**2 > c / k), delta**2 - c / k, np.nan)
    half_b = d * delta - c / k
    root = np.sqrt(np.maximum(half_b**2 - a * (d**2 - c * (1 + 1 / k)), 0.0))
    return (half_b - root) / a, (half_b + root) / a, t * s * math.sqrt(1 + 1 / k) / delta
