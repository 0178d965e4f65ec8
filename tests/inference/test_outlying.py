"""Groups that stand out from the usual: known answers, size, and power."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.inference.outlying import LEAST_GROUPS, modified_z, p_above


def test_a_known_answer() -> None:
    """Median 3; distances from it 2, 1, 0, 1, 97, whose median is 1."""
    assert modified_z(np.array([1.0, 2, 3, 4, 100])) == pytest.approx(0.6745 * np.array([-2, -1, 0, 1, 97]))


def test_where_most_are_equal_what_differs_is_infinitely_far() -> None:
    assert modified_z(np.array([2.0, 2, 2, 2, 2.1])).tolist() == [0, 0, 0, 0, np.inf]
    p = p_above(np.array([2.0, 2, 2, 2, 2.1]), np.random.default_rng(0))
    assert p[-1] == 1 / 10_000
    assert (p[:-1] == 1).all()


def test_equal_groups_do_not_stand_out() -> None:
    assert (p_above(np.zeros(8), np.random.default_rng(0)) == 1).all()


@given(st.floats(0.1, 100), st.floats(-100, 100))
def test_neither_scale_nor_place_matters(scale: float, place: float) -> None:
    values = np.array([0.3, -1.2, 0.8, 0.1, 4.0, -0.5])
    moved = p_above(scale * values + place, np.random.default_rng(1))
    assert moved == pytest.approx(p_above(values, np.random.default_rng(1)), abs=2e-4)


@pytest.mark.parametrize("n", [5, 10, 40])
def test_among_usual_groups_any_stands_out_as_often_as_stated(n: int) -> None:
    random = np.random.default_rng(2)
    smallest = [p_above(random.normal(3, 2, n), random).min() for _ in range(200)]
    for level in (0.05, 0.2):
        assert np.mean(np.array(smallest) < level) <= level + 3 * (level * (1 - level) / 200) ** 0.5


def test_a_third_of_forty_groups_is_found_though_it_moves_the_median() -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=40)
    values[:13] += 20
    assert (p_above(values, random) < 0.05).tolist() == [True] * 13 + [False] * 27


def test_too_few_groups() -> None:
    with pytest.raises(ValueError, match=f"known from {LEAST_GROUPS} on"):
        p_above(np.zeros(4), np.random.default_rng(0))
