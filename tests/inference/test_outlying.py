"""Groups that stand out from the usual: known answers, size, and power."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from auditor.inference.outlying import LEAST_GROUPS, LEVEL, standing_out


def test_a_known_answer() -> None:
    """Of a single candidate it is Grubbs' test, whose statistic is bounded by (n − 1)/√n: 1.789 for five."""
    values = np.array([1.0, 2, 3, 4, 100])
    g = (100 - values.mean()) / values.std(ddof=1)
    t = stats.t.isf(0.03 / 5, 3)
    assert 4 * t / np.sqrt(5 * (3 + t**2)) < g < 1.789
    assert standing_out(values).tolist() == [False] * 4 + [True]
    assert not standing_out(np.array([1.0, 2, 3, 4, 7])).any()


def test_what_lies_below_is_not_looked_for() -> None:
    assert not standing_out(np.array([1.0, 2, 3, 4, -100])).any()


def test_equal_groups_do_not_stand_out() -> None:
    assert not standing_out(np.zeros(8)).any()


@given(st.floats(0.1, 100), st.floats(-100, 100))
def test_neither_scale_nor_place_matters(scale: float, place: float) -> None:
    values = np.array([0.3, -1.2, 0.8, 0.1, 9.0, -0.5, 0.2])
    assert standing_out(scale * values + place).tolist() == standing_out(values).tolist() == [v == 9 for v in values]


@pytest.mark.parametrize("n", [5, 6, 10, 40])
def test_among_usual_groups_any_stands_out_as_often_as_stated(n: int) -> None:
    random = np.random.default_rng(2)
    found = np.mean([standing_out(random.normal(3, 2, n)).any() for _ in range(1500)])
    assert found <= LEVEL + 3 * (LEVEL * (1 - LEVEL) / 1500) ** 0.5


def test_a_third_of_the_groups_is_found_though_they_widen_the_spread() -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=18)
    values[:6] += 12
    assert standing_out(values).tolist() == [True] * 6 + [False] * 12


def test_too_few_groups() -> None:
    with pytest.raises(ValueError, match=f"known from {LEAST_GROUPS} on"):
        standing_out(np.zeros(4))
