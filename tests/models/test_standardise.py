"""Standardisation by known answers, and which of the rules for dead units answers what."""

import pytest
import torch
from torch import Tensor

from auditor.models.standardise import (
    Scaling,
    alive_among_units,
    alive_at_all,
    alive_by_own_mean,
    divisor,
    factor,
    z_scores,
)

# Moving; moving little about a large mean; nearly constant; constant; zero.
ROWS = torch.tensor([[1.0, 1e4, 5.0, 2.0, 0.0], [3.0, 1e4 + 1, 5.0 + 1e-6, 2.0, 0.0]], dtype=torch.float64)
MEAN, STD = ROWS.mean(0), ROWS.std(0)


def test_each_rule_by_hand() -> None:
    assert alive_by_own_mean(STD, MEAN).tolist() == [True, True, False, False, False]
    assert alive_among_units(STD).tolist() == [True, True, False, False, False]
    assert alive_at_all(STD).tolist() == [True, True, True, False, False]


def test_a_rescaled_unit_keeps_the_answer_of_the_rule_that_looks_at_itself_alone() -> None:
    by = torch.tensor([1.0, 1e8, 1e-8, 1e8, 1.0], dtype=torch.float64)
    rescaled = ROWS * by
    own = alive_by_own_mean(rescaled.std(0), rescaled.mean(0))
    assert own.tolist() == alive_by_own_mean(STD, MEAN).tolist()
    # What the rule that looks at the others as well is not for.
    assert alive_among_units(rescaled.std(0)).tolist() == [False, True, False, False, False]


def test_a_spread_against_the_largest_value_would_be_the_same_rule() -> None:
    random = torch.Generator().manual_seed(0)
    for share in (1e-9, 0.99e-6, 1.01e-6, 1e-3):
        values = torch.randn(200, 50, generator=random, dtype=torch.float64)
        values = 1 + values / values.std(0) * share
        values = values * torch.logspace(-6, 6, 50, dtype=torch.float64)
        std = values.std(0)
        assert torch.equal(alive_by_own_mean(std, values.mean(0)), std > 1e-6 * values.abs().amax(0))


def test_what_is_divided_by_and_multiplied_with() -> None:
    alive = torch.tensor([True, False])
    std = torch.tensor([4.0, 0.0])
    assert divisor(std, alive).tolist() == [4.0, 1.0]
    assert divisor(std, alive, dead=torch.inf).tolist() == [4.0, torch.inf]
    assert factor(std, alive).tolist() == [0.25, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_type_is_kept(dtype: torch.dtype) -> None:
    std = STD.to(dtype)
    alive = alive_among_units(std)
    found = [divisor(std, alive), divisor(std, alive, dead=torch.inf), factor(std, alive), z_scores(std)]
    assert {value.dtype for value in found} == {dtype}
    assert Scaling.among_units(ROWS.to(dtype))(ROWS.to(dtype)).dtype == dtype


def test_scaled_rows_have_mean_0_and_spread_1_and_dead_units_stay() -> None:
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 7 + 3
    rows[:, 4] = 3.0
    rows[:, 5] = 3.0 + 1e-9 * rows[:, 5]
    scaled = Scaling.among_units(rows)(rows)
    assert torch.allclose(scaled.mean(0), torch.zeros(6, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(scaled[:, :4].std(0), torch.ones(4, dtype=torch.float64))
    assert scaled[:, 4].tolist() == [0.0] * 40
    assert float(scaled[:, 5].abs().max()) < 1e-7, "noise is not blown up"


def test_rescaling_and_shifting_units_changes_nothing() -> None:
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    by, shift = 2.0 ** torch.arange(-3, 3), torch.arange(6)
    moved = rows * by + shift
    assert torch.allclose(Scaling.among_units(rows)(rows), Scaling.among_units(moved)(moved))


def as_map(rows: Tensor) -> Tensor:
    """[2·3·4, d] as convolutional maps [2, d, 3, 4]."""
    return rows.view(2, 3, 4, -1).permute(0, 3, 1, 2)


def test_maps_and_token_states_are_scaled_as_their_rows_are() -> None:
    rows = torch.randn(24, 5, generator=torch.Generator().manual_seed(3))
    scaling = Scaling.among_units(rows)
    assert torch.equal(scaling(as_map(rows)), as_map(scaling(rows)))
    assert torch.equal(scaling(rows.view(4, 6, 5)), scaling(rows).view(4, 6, 5))


def test_z_scores_by_hand_and_of_equal_values() -> None:
    assert z_scores(torch.tensor([1.0, 2.0, 3.0])).tolist() == [-1.0, 0.0, 1.0]
    assert z_scores(torch.full((4,), 2.0)).tolist() == [0.0] * 4
