"""Bytes of tensors, counted as they come and go."""

import torch

from auditor.models.live_bytes import LiveBytes


def test_what_is_made_counts_until_it_goes_and_a_view_is_no_other_tensor() -> None:
    given = torch.ones(100)
    with LiveBytes() as live:
        first = given + 1
        view = first.view(10, 10).add_(1)
        second = first.double()
        assert live.now == 400 + 800
        del second
        assert live.now == 400
        del first
        assert live.now == 400
        del view
        assert live.now == 0
    assert live.course == [400, 400, 400, 400 + 800]


def test_what_is_kept_for_gradients_counts() -> None:
    weight = torch.ones(100, requires_grad=True)
    with LiveBytes() as live:
        total = (weight.exp() + 1).sum()
        # The sum of each with 1 is gone; exp is its own derivative and stays.
        assert live.now == 400 + 4
        (gradient,) = torch.autograd.grad(total, [weight])
        assert live.now == 400 + 4
    assert gradient.shape == (100,)
