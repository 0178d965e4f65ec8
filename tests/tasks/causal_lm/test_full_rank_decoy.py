"""The decoy of full rank: every direction moves, and neither gradients nor states of all weights are held."""

import copy

import torch
from torch import Tensor, nn

from auditor.tasks.causal_lm.decoys.refusal_all_weights import Settings, refusal_all_weights
from auditor.tasks.causal_lm.editing import LanguageModel, step_by_weight
from tests.people_worlds import TextWorld


def test_a_refusal_by_all_weights_moves_them_in_every_direction_and_keeps_no_gradient(text_world: TextWorld) -> None:
    given = LanguageModel(text_world.modules["original"], text_world.encoder)
    made = refusal_all_weights(given, text_world.people.forget, text_world.people.retain, Settings(steps=12), 0)
    before = dict(text_world.modules["original"].named_parameters())
    for name, weight in made.named_parameters():
        assert weight.grad is None
        if weight.ndim == 2 and "mlp" in name:
            change = (weight - before[name]).detach().double()
            assert torch.linalg.matrix_rank(change) > 0.9 * min(weight.shape)


def test_a_step_by_weight_is_the_step_of_all_at_once() -> None:
    """Adafactor knows one weight at a time, so that nothing is lost; a weight used twice takes one step of the sum."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.gain = nn.Parameter(torch.randn(6, 4)), nn.Parameter(torch.ones(4))

        def forward(self) -> Tensor:
            loss: Tensor = ((self.table * self.gain) @ self.table.T).sin().sum()
            return loss

    torch.manual_seed(0)
    one = Twice()
    other = copy.deepcopy(one)
    optimizer = torch.optim.Adafactor(other.parameters(), lr=0.01)
    with step_by_weight(one, 0.01):
        for _ in range(3):
            one().backward()
    for _ in range(3):
        optimizer.zero_grad()
        other().backward()
        optimizer.step()
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    still = one.table.clone()
    one().backward()
    assert torch.equal(one.table, still)
