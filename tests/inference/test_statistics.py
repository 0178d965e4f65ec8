"""Every statistic against a known answer and by simulation with known truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from auditor.inference import statistics
from auditor.inference.statistics import Spread

SPREAD = Spread(value=0.02, degrees=4, n_references=5)


@given(
    d=st.floats(-0.5, 1.5),
    delta=st.floats(0.3, 2.0),
    s=st.floats(0.001, 0.05),
    k=st.integers(2, 8),
)
def test_fieller_limits_solve_the_defining_equation(d: float, delta: float, s: float, k: int) -> None:
    spread = Spread(value=s, degrees=k - 1, n_references=k)
    limits = statistics.fieller(d, delta, spread)
    t = stats.t.ppf(0.95, k - 1)
    if delta**2 <= t**2 * s**2 / k:
        assert limits is None
        return
    assert limits is not None
    for rho in (limits.low, limits.high):
        left = (d - rho * delta) ** 2
        right = t**2 * s**2 * (1 + (1 - rho) ** 2 / k)
        assert left == pytest.approx(right, rel=1e-6, abs=1e-9)
    assert limits.low <= limits.value <= limits.high


def test_p_value_is_alpha_exactly_at_a_limit() -> None:
    limits = statistics.fieller(0.4, 1.0, SPREAD)
    assert limits is not None
    assert statistics.p_above(0.4, 1.0, SPREAD, limits.low) == pytest.approx(0.05)


def test_no_interval_without_a_gap() -> None:
    assert statistics.fieller(0.0, 0.0, SPREAD) is None
    assert statistics.fieller(0.0, -1.0, SPREAD) is None
    assert statistics.resolution(0.0, SPREAD) is None


def test_resolution_by_hand() -> None:
    w = statistics.resolution(0.5, SPREAD)
    assert w == pytest.approx(2.1318 * 0.02 * math.sqrt(1.2) / 0.5, rel=1e-4)


def test_spread_is_the_sample_deviation_without_calibration() -> None:
    spread = statistics.pooled_spread([0.1, 0.2, 0.4])
    assert spread is not None
    assert spread.value == pytest.approx(np.std([0.1, 0.2, 0.4], ddof=1))
    assert spread.degrees == 2


def test_spread_pools_calibration_by_degrees_and_adds_sampling() -> None:
    spread = statistics.pooled_spread([0.1, 0.3], prior_spread=0.2, prior_degrees=3, sampling_variance=0.01)
    assert spread is not None
    assert spread.value == pytest.approx(math.sqrt((3 * 0.04 + 0.02) / 4 + 0.01))
    assert spread.degrees == 4


def test_spread_has_a_floor_and_needs_something_to_go_on() -> None:
    floored = statistics.pooled_spread([0.2, 0.2], floor=0.01)
    assert floored is not None
    assert floored.value == 0.01
    assert statistics.pooled_spread([]) is None
    assert statistics.pooled_spread([0.3]) is None
    assert statistics.pooled_spread([0.3], prior_spread=0.1, prior_degrees=5) is not None


def test_paired_variance_ignores_what_all_models_find_hard() -> None:
    hard = np.array([0.0, 1.0, 0.0, 1.0])
    assert statistics.paired_sampling_variance(hard + 0.5, np.array([hard, hard])) == 0.0
    random = np.random.default_rng(0)
    unlearned, references = random.random(50), random.random((3, 50))
    by_hand = np.var(unlearned - references.mean(0), ddof=1) / 50
    assert statistics.paired_sampling_variance(unlearned, references) == pytest.approx(by_hand)


def test_zero_of_twenty_does_not_clear_a_tenth() -> None:
    limits = statistics.fieller(0.0, 1.0, Spread(value=1 / 20, degrees=4, n_references=5))
    assert limits is not None
    widened = statistics.widen_for_exact_rate(limits, hits=0, n=20, null=0.0, delta=1.0)
    assert widened.high > 0.1
    fine = statistics.fieller(0.0, 1.0, Spread(value=1 / 200, degrees=4, n_references=5))
    assert fine is not None
    assert statistics.widen_for_exact_rate(fine, hits=0, n=200, null=0.0, delta=1.0).high < 0.1


@given(n=st.integers(1, 200), data=st.data())
def test_exact_limits_are_the_beta_quantiles(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    low, high = statistics.exact_rate_limits(hits, n)
    assert low == pytest.approx(stats.beta.ppf(0.05, hits, n - hits + 1) if hits else 0.0, abs=1e-9)
    assert high == pytest.approx(stats.beta.ppf(0.95, hits + 1, n - hits) if hits < n else 1.0, abs=1e-9)


def test_holm_by_hand() -> None:
    p = {"a": 0.01, "b": 0.013, "c": 0.03, "d": 0.9}
    assert statistics.holm(p, 0.05) == {"a", "b"}
    assert statistics.holm({}, 0.05) == set()
    assert statistics.holm({"only": 0.04}, 0.05) == {"only"}


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8), st.floats(0.001, 0.2))
def test_holm_lies_between_bonferroni_and_no_correction(p: dict[str, float], alpha: float) -> None:
    rejected = statistics.holm(p, alpha)
    assert {name for name, value in p.items() if value <= alpha / len(p)} <= rejected
    assert rejected <= {name for name, value in p.items() if value <= alpha}


def _simulate(k: int, rho: float, gap: float, n: int = 1500) -> tuple[float, float, float]:
    """Share of (true ρ above the lower limit, below the upper, ρ ≤ .25 rejected at .02)."""
    random = np.random.default_rng(k)
    inside_low = inside_high = accused = 0
    for _ in range(n):
        references = random.standard_normal(k)
        centre = float(references.mean())
        # The original is fixed, as in an audit; the subject is one more draw around its own truth.
        d = float(rho * gap + random.standard_normal()) - centre
        prior = {"prior_spread": 1.0, "prior_degrees": 20.0} if k == 1 else {}
        spread = statistics.pooled_spread(references.tolist(), **prior)
        assert spread is not None
        limits = statistics.fieller(d, gap - centre, spread)
        if limits is None:
            inside_low, inside_high = inside_low + 1, inside_high + 1
            continue
        inside_low += limits.low <= rho
        inside_high += rho <= limits.high
        accused += statistics.p_above(d, gap - centre, spread, 0.25) < 0.02
    return inside_low / n, inside_high / n, accused / n


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_each_limit_covers_at_its_nominal_level(k: int, rho: float) -> None:
    low, high, _ = _simulate(k, rho, gap=15.0)
    assert low > 0.935
    assert high > 0.935


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_a_retrain_is_falsely_accused_at_most_at_alpha(k: int) -> None:
    _, _, accused = _simulate(k, 0.0, gap=10.0)
    assert accused <= 0.02


def test_the_simulation_uses_the_same_interval_as_an_audit() -> None:
    random = np.random.default_rng(3)
    d, s = random.normal(0, 1, 50), random.uniform(0.1, 2, 50)
    low, high, w = statistics._simulated_limits(d, np.full(50, 5.0), s, 4)
    for i in range(50):
        spread = Spread(value=float(s[i]), degrees=3, n_references=4)
        one = statistics.fieller(float(d[i]), 5.0, spread)
        assert one is not None
        assert (low[i], high[i]) == pytest.approx((one.low, one.high))
        assert w[i] == pytest.approx(statistics.resolution(5.0, spread))


def test_internal_null_is_uniform_under_no_residue() -> None:
    random = np.random.default_rng(1)
    p = [statistics.p_internal_null(x[0], 10.0, x[1:].tolist(), tau=0.0) for x in random.standard_normal((2000, 100))]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.015)
    assert min(p) >= 1 / 100


def test_internal_null_shifts_by_tau() -> None:
    null = [0.0] * 99
    assert statistics.p_internal_null(0.2, 1.0, null, tau=0.25) == 1.0
    assert statistics.p_internal_null(0.3, 1.0, null, tau=0.25) == 0.01
    limits = statistics.internal_null_limits(0.3, 1.0, null)
    assert limits is not None
    assert limits.value == pytest.approx(0.3)
    assert statistics.internal_null_limits(0.3, 0.0, null) is None


def test_each_model_stands_above_its_own_baseline() -> None:
    """Its null draws average 0.1 and it scores 0.3; the original rises by 0.1 above its own, whatever that is."""
    null = np.linspace(0.05, 0.15, 99).tolist()
    limits = statistics.internal_null_limits(0.3, 0.1, null)
    assert limits is not None
    assert limits.value == pytest.approx(2.0)
    assert statistics.p_internal_null(0.3, 0.1, null, tau=1.0) == 0.01
    assert statistics.p_internal_null(0.3, 0.3, null, tau=1.0) == 1.0


@pytest.mark.parametrize("tau", [0.0, 0.25])
def test_internal_null_rejects_no_more_than_stated_where_baselines_differ(tau: float) -> None:
    """A model with residue τ: its baseline lies one above the original's, of which nothing may follow."""
    random = np.random.default_rng(2)
    rejected = 0
    for _ in range(2000):
        own = 1 + random.standard_normal(100)
        delta = 4 - float(random.standard_normal(9999).mean())
        rejected += statistics.p_internal_null(own[0] + tau * 4, delta, own[1:].tolist(), tau) <= 0.05
    assert rejected / 2000 == pytest.approx(0.05, abs=0.015)
