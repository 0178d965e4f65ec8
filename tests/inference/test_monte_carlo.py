"""Nulls that one model gives by itself: their size under the null, and when draws stop."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from auditor.inference.monte_carlo import draws_until_decided, permutation_null

margins = st.lists(st.integers(-8, 8).map(float), min_size=2, max_size=25).map(np.array)


# Draws until it is decided


@pytest.mark.parametrize(("draw", "expected"), [(lambda i: 1.0, 10), (lambda i: 0.0, 50), (lambda i: i % 2, 20)])
def test_draws_stop_when_the_score_does_not_stand_out(draw: Callable[[int], float], expected: int) -> None:
    assert len(draws_until_decided(draw, 1.0, most=50)) == expected


def test_draws_are_made_in_their_order_and_all_kept() -> None:
    assert draws_until_decided(float, value=2.0, most=10, enough=2) == (0.0, 1.0, 2.0, 3.0)
    assert draws_until_decided(float, value=2.0, most=3, enough=2) == (0.0, 1.0, 2.0)
    assert draws_until_decided(float, value=2.0, most=0) == ()


def test_a_p_value_of_stopped_draws_rejects_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    p_values = []
    for _ in range(4000):
        value = float(random.standard_normal())
        found = draws_until_decided(lambda i: float(random.standard_normal()), value, most=199, enough=10)
        reached = sum(draw >= value for draw in found)
        # Besag and Clifford (1991): h/l where drawing stopped after l, else as after any fixed number of draws.
        p_values.append(reached / len(found) if reached == 10 else (1 + reached) / (1 + len(found)))
    for level in (0.02, 0.05, 0.2):
        assert np.mean(np.array(p_values) <= level) <= level + 3 * math.sqrt(level * (1 - level) / 4000)


# Permutations


def test_permutation_null_rejects_as_often_as_it_says() -> None:
    random = np.random.default_rng(4)
    p_values = []
    for _ in range(400):
        members, others = random.standard_t(2, 20), random.standard_t(2, 30)
        null = permutation_null(members, others, 99, random)
        p_values.append((1 + np.sum(null >= members.mean() - others.mean())) / 100)
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


@settings(max_examples=25)
@given(margins, margins, st.integers(0, 1000))
def test_permutation_null_is_centred(members: Any, others: Any, seed: int) -> None:
    null = permutation_null(members, others, 2000, np.random.default_rng(seed))
    spread = np.std(np.concatenate([members, others])) * math.sqrt(1 / len(members) + 1 / len(others))
    assert abs(null.mean()) <= 6 * spread / math.sqrt(2000) + 1e-9


class TestPermutations:
    def test_whole_subjects_change_sides(self) -> None:
        """Two subjects of equal facts each: only their two assignments exist."""
        null = permutation_null(
            np.array([1.0, 1.0]), np.array([0.0, 0.0]), 50, np.random.default_rng(0), (["a", "a"], ["b", "b"])
        )
        assert set(null.tolist()) == {1.0, -1.0}

    def test_facts_without_a_subject_change_sides_alone(self) -> None:
        members, others = np.arange(4.0), np.arange(5.0)
        named = permutation_null(members, others, 20, np.random.default_rng(0), ([""] * 4, [""] * 5))
        assert named.tolist() == permutation_null(members, others, 20, np.random.default_rng(0)).tolist()

    def test_rejects_a_true_null_no_more_often_than_it_says_though_subjects_differ(self) -> None:
        random, rejected = np.random.default_rng(1), {"blocks": 0, "facts": 0}
        names = ([f"m{i // 6}" for i in range(24)], [f"h{i // 6}" for i in range(60)])
        for _ in range(200):
            values = np.repeat(random.normal(size=14), 6) + 0.3 * random.normal(size=84)
            members, others = values[:24], values[24:]
            for kind, blocks in (("blocks", names), ("facts", None)):
                null = permutation_null(members, others, 99, random, blocks)
                rejected[kind] += (1 + np.sum(null >= members.mean() - others.mean())) / 100 <= 0.05
        assert rejected["blocks"] <= 20
        assert rejected["facts"] > 20
