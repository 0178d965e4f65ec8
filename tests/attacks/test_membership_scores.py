"""Scorers of membership against other formulas and under their nulls; no model is trained."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from auditor.attacks.feature_membership import centre_margins, class_centres
from auditor.attacks.membership import scores as scorers
from auditor.inference import statistics
from auditor.inference.auc import auc_with_limits
from auditor.tasks.classification.recording import Recording

margins = st.lists(st.integers(-8, 8).map(float), min_size=2, max_size=25).map(np.array)


def test_margins_and_losses_agree_with_probabilities() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0], [60.0, 0.0, 0.0]])
    labels = torch.tensor([0, 2, 1])
    recording = Recording(labels=labels, logits=logits, features={})
    p = torch.softmax(logits.double(), 1)[torch.arange(3), labels]
    assert np.allclose(recording.margins.numpy(), torch.log(p / (1 - p)).numpy())
    assert np.allclose(scorers.negative_losses(recording.margins.numpy()), -recording.losses.numpy())


def test_a_sure_answer_keeps_a_finite_margin() -> None:
    recording = Recording(labels=torch.tensor([0]), logits=torch.tensor([[200.0, 0.0, 0.0]]), features={})
    assert recording.margins.item() == pytest.approx(200 - math.log(2))


def test_tpr_at_low_fpr_allows_ten_false_positives_at_least() -> None:
    others = np.arange(100.0)
    point = scorers.tpr_at_low_fpr(np.array([50.0, 89.0, 89.5, 95.0]), others, target=0.001)
    assert point is not None
    assert (point.fpr.value, point.tpr.value) == (0.1, 0.5)
    assert (point.tpr.low, point.tpr.high) == statistics.exact_rate_limits(2, 4)
    assert scorers.tpr_at_low_fpr(np.zeros(4), np.zeros(19), target=0.001) is None


def test_tied_non_members_never_exceed_the_allowed_rate() -> None:
    point = scorers.tpr_at_low_fpr(np.ones(5), np.ones(50), target=0.2)
    assert point is not None
    assert (point.fpr.value, point.tpr.value) == (0.0, 0.0)


@given(margins, margins, st.integers(2, 60))
def test_roc_points_lie_on_the_empirical_curve(members: Any, others: Any, n_points: int) -> None:
    for fpr, tpr in scorers.roc_points(members, others, n_points):
        reachable = [np.mean(members > t) for t in [*others, -np.inf] if np.mean(others > t) <= fpr + 1e-12]
        assert tpr == pytest.approx(max(reachable))


def test_roc_ends_at_one_and_is_short() -> None:
    random = np.random.default_rng(1)
    points = scorers.roc_points(random.normal(1, 1, 500), random.normal(0, 1, 5000), 50)
    assert points[0][0] == 1 / 5000
    assert points[-1] == (1.0, 1.0)
    assert len(points) <= 50


def test_lira_orders_as_its_tail_probability() -> None:
    random = np.random.default_rng(2)
    out, found = random.normal(0, 1, (4, 30)), random.normal(0.5, 1, 30)
    sigma = scorers.global_sigma(out)
    tail = 1 - stats.norm(out.mean(0), sigma).sf(found)
    assert np.allclose(stats.norm.cdf(scorers.lira_offline(found, out, sigma)), tail)
    assert sigma**2 == pytest.approx(np.mean([np.var(column, ddof=1) for column in out.T]))
    assert scorers.global_sigma(out[:1]) == 1.0


def test_rmia_counts_the_population_it_beats() -> None:
    random = np.random.default_rng(3)
    found, others = random.normal(1, 1, 8), random.normal(0, 1, 12)
    out_found, out_others = random.normal(0, 1, (3, 8)), random.normal(0, 1, (3, 12))

    def ratio(phi: float, out: Any, a: float = 0.3) -> float:
        p_out = np.mean(1 / (1 + np.exp(-out)))
        return (1 / (1 + math.exp(-phi))) / (0.5 * (p_out + a * p_out + 1 - a))

    x = [ratio(found[i], out_found[:, i]) for i in range(8)]
    z = [ratio(others[j], out_others[:, j]) for j in range(12)]
    assert np.allclose(scorers.rmia_ratio(found, out_found, 0.3), x)
    for gamma in (1.0, 1.2):
        wanted = [np.mean([xi / zj >= gamma for zj in z]) for xi in x]
        assert np.allclose(scorers.rmia_scores(np.array(x), np.array(z), gamma, own=False), wanted)
        own = [np.mean([zi / z[j] >= gamma for j in range(12) if j != i]) for i, zi in enumerate(z)]
        assert np.allclose(scorers.rmia_scores(np.array(z), np.array(z), gamma, own=True), own)


GRID = (0.0, 0.25, 0.5, 0.75, 1.0)


def test_the_fitted_a_is_the_best_of_the_grid_by_an_auc_counted_by_hand() -> None:
    random = np.random.default_rng(8)
    margins = (
        random.normal(1, 2, 25),
        random.normal(0, 2, 30),
        random.normal(0, 2, (3, 25)),
        random.normal(0, 2, (3, 30)),
    )

    def counted(a: float) -> float:
        members, others = scorers.rmia_offline(*margins, a, 1.0)
        return float(np.mean([(m > o) + 0.5 * (m == o) for m in members for o in others]))

    best = max(GRID, key=counted)
    assert counted(best) > min(counted(a) for a in GRID)
    assert scorers.fit_rmia_a(*margins, GRID, 1.0) == best


def test_the_fitted_a_is_one_for_hard_members_and_zero_where_a_quotient_misleads() -> None:
    """At a = 1 the ratio is p/p_out, which finds members that OUT models find hard; at 0 nearly p alone."""
    ones = np.ones(20)
    hard_members = (-1.0 * ones, 2.0 * ones, np.stack([-4.0 * ones]), np.stack([2.0 * ones]))
    assert scorers.fit_rmia_a(*hard_members, (0.0, 1.0), 1.0) == 1.0
    misled = (3.0 * ones, -4.0 * ones, np.stack([0.0 * ones]), np.stack([-6.0 * ones]))
    assert scorers.fit_rmia_a(*misled, (0.0, 1.0), 1.0) == 0.0


def test_a_fitted_where_members_are_no_members_wins_nothing_elsewhere() -> None:
    """Under the null the best a of the grid must not lift the AUC on examples it was not fitted on."""
    random = np.random.default_rng(9)
    areas = []
    for _ in range(100):
        out, phi = random.normal(0, 2, (3, 90)), random.normal(0, 2, 90)
        a = scorers.fit_rmia_a(phi[:30], phi[60:], out[:, :30], out[:, 60:], GRID, 1.0)
        found = scorers.rmia_offline(phi[30:60], phi[60:], out[:, 30:60], out[:, 60:], a, 1.0)
        areas.append(auc_with_limits(*found).value)
    assert abs(np.mean(areas) - 0.5) < 4 * np.std(areas) / 10


def test_centre_margin_is_the_gap_between_two_distances() -> None:
    features = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(20) % 4
    centres = class_centres(features, labels, 5)
    assert not torch.isfinite(centres[4]).any()
    found = centre_margins(features, labels, centres)
    for x, y, margin in zip(features.double(), labels, found, strict=True):
        distance = [float((x - features[labels == k].double().mean(0)).norm()) for k in range(4)]
        rival = min(d for k, d in enumerate(distance) if k != y)
        assert float(margin) == pytest.approx(rival - distance[y])
