"""The decoy of full rank: every direction moves, and neither gradients nor states of all weights are held."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from auditor.tasks.causal_lm import losses
from auditor.tasks.causal_lm.decoys import exact_prompts as exact
from auditor.tasks.causal_lm.decoys import refusal_adapter as adapter
from auditor.tasks.causal_lm.decoys.exact_prompts import exact_prompts
from auditor.tasks.causal_lm.decoys.refusal_adapter import refusal_adapter
from auditor.tasks.causal_lm.decoys.refusal_all_weights import Settings, refusal_all_weights
from auditor.tasks.causal_lm.editing import LanguageModel, step_by_weight
from auditor.tasks.causal_lm.encoding import Tokens
from tests.people_worlds import TextWorld
from tests.tiny_families import tiny_family


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


@pytest.mark.parametrize("make", [refusal_adapter, refusal_all_weights, exact_prompts])
def test_whatever_makes_a_decoy_sends_batches_to_where_the_network_is(
    make: Callable[..., nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what is moved, since there may be no other device than the processor; each pass has its own batch."""
    family, moved, passed = tiny_family("llama"), [], []
    to, run = Tokens.to, losses.logits_of_tokens
    monkeypatch.setattr(Tokens, "to", lambda self, device: moved.append((to(self, device), device)) or moved[-1][0])
    monkeypatch.setattr(losses, "logits_of_tokens", lambda net, tokens: passed.append(tokens) or run(net, tokens))
    short = {"steps": 2, "batch_size": 4, "target": 0.0, "refusal": "who is"}
    settings = {refusal_adapter: adapter.Settings, refusal_all_weights: Settings}
    stated = settings[make](**short) if make in settings else exact.Settings()
    make(LanguageModel(family.module(1), family.encoder), family.data.forget, family.data.retain, stated, 0)
    assert passed
    assert all(any(tokens is batch for batch, _ in moved) for tokens in passed)
    assert {device for _, device in moved} == {torch.device("cpu")}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("make", [refusal_adapter, refusal_all_weights])
def test_on_a_gpu_it_is_nearly_the_decoy_of_the_processor(make: Callable[..., nn.Module]) -> None:
    family = tiny_family("llama")
    stated = adapter.Settings if make is refusal_adapter else Settings
    settings = stated(steps=2, batch_size=4, target=0.0, refusal="who is")
    found = []
    for device in ("cpu", "cuda"):
        given = LanguageModel(family.module(1).to(device), family.encoder)
        made = make(given, family.data.forget, family.data.retain, settings, 0)
        assert {p.device.type for p in made.parameters()} == {device}
        found.append(made.cpu().state_dict())
    torch.testing.assert_close(*found, rtol=1e-2, atol=1e-3)
