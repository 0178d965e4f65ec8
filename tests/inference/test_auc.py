"""Areas under ROC curves against their definition, another implementation, and by simulation with known truth."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from auditor.inference.auc import auc, auc_with_limits, placements

margins = st.lists(st.integers(-8, 8).map(float), min_size=2, max_size=25).map(np.array)
lists = st.lists(st.integers(-3, 3), min_size=1, max_size=30)


@given(lists, lists)
def test_a_placement_counts_what_lies_below_and_half_of_what_is_equal(values: list[int], others: list[int]) -> None:
    counted = [sum((v > o) + 0.5 * (v == o) for o in others) for v in values]
    assert placements(values, others).tolist() == counted
    ranks = stats.rankdata(values + others)[: len(values)] - stats.rankdata(values)
    assert placements(values, others).tolist() == ranks.tolist(), "midranks, by which DeLong limits are worked out"


def test_the_area_by_hand() -> None:
    assert auc([1.0, 2.0], [0.0, 1.0]) == 0.875
    assert auc([3.0], [1.0, 2.0]) == 1.0
    assert auc([0.0, 0.0], [0.0]) == 0.5


@given(lists, lists)
def test_the_area_is_that_of_scikit_learn_and_turns_with_the_sides(values: list[int], others: list[int]) -> None:
    labels = [1] * len(values) + [0] * len(others)
    assert auc(values, others) == pytest.approx(roc_auc_score(labels, values + others))
    assert auc(values, others) == pytest.approx(1 - auc(others, values))


@given(lists, lists)
def test_the_area_depends_on_the_order_alone(values: list[int], others: list[int]) -> None:
    assert auc(np.exp(values) * 1e-3, np.exp(others) * 1e-3) == auc(values, others)
    assert auc(np.float32(values), np.float32(others)) == auc(values, others)


def test_infinite_values_are_ordered_and_unknown_ones_are_no_area() -> None:
    assert auc([np.inf, np.inf], [np.inf, -np.inf]) == 0.75
    assert math.isnan(auc([1.0, np.nan], [0.0]))
    assert math.isnan(auc([1.0], [0.0, np.nan]))
    assert math.isnan(auc_with_limits(np.array([1.0, np.nan]), np.array([0.0, 2.0])).value)


@given(margins, margins)
def test_both_forms_are_the_same_area(members: Any, others: Any) -> None:
    assert auc_with_limits(members, others).value == pytest.approx(auc(members, others), rel=1e-14)


@given(margins, margins)
def test_auc_counts_ordered_pairs(members: Any, others: Any) -> None:
    wins = [(a > b) + 0.5 * (a == b) for a in members for b in others]
    area = auc_with_limits(members, others)
    assert area.value == pytest.approx(np.mean(wins))
    assert 0 <= area.low <= area.value <= area.high <= 1


@given(margins, margins)
def test_delong_variance_is_that_of_the_structural_components(members: Any, others: Any) -> None:
    kernel = np.array([[(a > b) + 0.5 * (a == b) for b in others] for a in members])
    area = auc_with_limits(members, others)
    variance = np.var(kernel.mean(1), ddof=1) / len(members) + np.var(kernel.mean(0), ddof=1) / len(others)
    if 0 < area.value < 1:
        assert area.low == pytest.approx(max(area.value - 1.6448536 * math.sqrt(variance), 0.0), abs=1e-6)


def test_delong_limits_hold_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    truth = stats.norm.cdf(1 / math.sqrt(2))
    areas = [auc_with_limits(random.normal(1, 1, 60), random.normal(0, 1, 80)) for _ in range(1000)]
    assert np.mean([area.low <= truth for area in areas]) == pytest.approx(0.95, abs=0.025)
    assert np.mean([area.high >= truth for area in areas]) == pytest.approx(0.95, abs=0.025)


def test_perfect_separation_does_not_claim_certainty() -> None:
    area = auc_with_limits(np.arange(10.0) + 100, np.arange(30.0))
    assert area.value == 1.0
    assert area.low == pytest.approx(0.05 ** (1 / 10))
