"""Low-rank branches beside the weights: what they add, and that they leave nothing behind."""

import copy
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from auditor.errors import ModelError
from auditor.models.low_rank import Branch, low_rank_branches
from auditor.tasks.causal_lm.losses import answer_logits, logits_of_tokens
from tests.people_worlds import TextWorld

RANK = 3


@pytest.fixture
def random() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def moved(branches: tuple[Branch, ...]) -> None:
    """Factors that add something; at the start one of each pair is 0."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for branch in branches:
            branch.reads.normal_(generator=random)
            branch.writes.normal_(generator=random)


@pytest.mark.usefixtures("random")
@pytest.mark.parametrize(
    ("part", "transposed"), [(nn.Linear(5, 7), True), (Conv1D(7, 5), False), (nn.Embedding(5, 7), False)]
)
def test_a_branch_is_the_change_of_its_matrix(part: nn.Module, transposed: bool) -> None:
    x = torch.tensor([0, 4, 2, 2]) if isinstance(part, nn.Embedding) else torch.randn(4, 5)
    changed = copy.deepcopy(part)
    with low_rank_branches(part, RANK, 0) as (branch,):
        moved((branch,))
        product = (branch.reads @ branch.writes / math.sqrt(RANK)).detach()
        with torch.no_grad():
            changed.weight += product.T if transposed else product
        torch.testing.assert_close(part(x), changed(x))


def test_it_starts_from_the_same_function_and_leaves_no_trace(text_world: TextWorld) -> None:
    module = copy.deepcopy(text_world.modules["original"])
    module.lm_head.requires_grad_(False)
    before = copy.deepcopy(module.state_dict())
    asked = [p.requires_grad for p in module.parameters()]
    tokens = text_world.encoder.batch(text_world.people.retain.items[:6])
    expected = logits_of_tokens(module, tokens)
    state = torch.get_rng_state()
    with low_rank_branches(module, RANK, 0) as branches:
        assert torch.equal(logits_of_tokens(module, tokens), expected)
        answer_logits(module, tokens).sum().backward()
        assert {id(p) for p in module.parameters() if p.requires_grad} == set(), "no weight has a gradient"
        moved(branches)
        assert not torch.allclose(logits_of_tokens(module, tokens), expected)
    assert torch.equal(logits_of_tokens(module, tokens), expected)
    assert [p.requires_grad for p in module.parameters()] == asked
    assert all(p.grad is None for p in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(part._forward_hooks for part in module.modules())
    assert torch.equal(torch.get_rng_state(), state), "nobody else's random numbers are used up"


def fail_inside(module: nn.Module) -> None:
    with low_rank_branches(module, RANK, 0):
        raise MemoryError


def test_an_attack_that_runs_out_of_memory_leaves_none_either(text_world: TextWorld) -> None:
    module = copy.deepcopy(text_world.modules["original"])
    with pytest.raises(MemoryError):
        fail_inside(module)
    assert not any(part._forward_hooks for part in module.modules())
    assert all(p.requires_grad for p in module.parameters())


def test_every_map_and_the_embeddings_move_and_the_seed_decides_where(text_world: TextWorld) -> None:
    module = copy.deepcopy(text_world.modules["original"])
    starts = []
    for seed in (0, 0, 1):
        with low_rank_branches(module, RANK, seed) as branches:
            # Seven maps in each of two blocks, the head, the table.
            assert len(branches) == 2 * 7 + 2
            assert [branch.table for branch in branches].count(True) == 1
            starts.append(torch.cat([branch.reads.detach().flatten() for branch in branches]))
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_the_head_is_still_asked_at_the_answers_alone(text_world: TextWorld) -> None:
    module = copy.deepcopy(text_world.modules["original"])
    tokens = text_world.encoder.batch(text_world.people.retain.items[:6])
    seen: list[Tensor] = []

    with low_rank_branches(module, RANK, 0) as branches:
        moved(branches)
        # The head's own branch says what it is given.
        head = branches[-1]
        asked = type(head).__call__

        def spy(self: Branch, part: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
            seen.append(output)
            return asked(self, part, arguments, output)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Branch, "__call__", spy)
            found = answer_logits(module, tokens)
        torch.testing.assert_close(found, logits_of_tokens(module, tokens)[tokens.predicting])
    assert seen[-1].shape == (1, len(tokens.targets), found.shape[1])


@pytest.mark.usefixtures("random")
def test_factors_keep_steps_that_a_bfloat16_weight_would_round_away() -> None:
    part = nn.Linear(8, 8).bfloat16()
    with low_rank_branches(part, RANK, 0) as (branch,):
        assert branch.reads.dtype == branch.writes.dtype == torch.float32
        optimizer = torch.optim.SGD([branch.reads], lr=1e-6)
        branch.writes.data.fill_(1.0)
        before = branch.reads.detach().clone()
        out = part(torch.ones(1, 8, dtype=torch.bfloat16))
        assert out.dtype == torch.bfloat16
        out.float().sum().backward()
        optimizer.step()
        assert (branch.reads.detach() != before).all()
        assert torch.equal(branch.reads.detach().bfloat16(), before.bfloat16())


def test_a_network_without_maps_is_refused_in_a_sentence() -> None:
    with pytest.raises(ModelError, match="this network has none"), low_rank_branches(nn.Conv2d(1, 1, 1), RANK, 0):
        pass
