"""A search of what a generator may be given: finds what was merely disconnected, and is worse off where nothing is."""

import copy

import pytest
import torch

from auditor.attacks.latent_search import REACHED, LatentSearch, Settings
from auditor.checks.contract_worlds import ContractWorld, contract_world
from auditor.errors import ModelError
from auditor.records.score import Score
from auditor.tasks.gan.code import GanCode
from auditor.zoo.fresh import reinitialised

SEED = 5


@pytest.fixture(scope="module")
def world() -> ContractWorld:
    return contract_world("gan")


def scored(world: ContractWorld, module: torch.nn.Module) -> Score:
    return LatentSearch().score(world.subject(module), None, world.data, Settings(), SEED)


def test_a_label_that_is_off_is_found_again_and_a_fresh_network_has_nothing(world: ContractWorld) -> None:
    original, hidden, fresh = (
        scored(world, module).readings[REACHED].value
        for module in (world.original, world.hidden, reinitialised(world.original, 3))
    )
    # Asked directly, the copy shows next to nothing.
    eval_half = world.data.forget_eval
    with torch.no_grad():
        direct = GanCode().scores(world.hidden, eval_half.inputs, eval_half.targets).mean()
    assert float(direct) < 2 * hidden
    assert hidden == pytest.approx(original, abs=0.2 * abs(original))
    assert fresh < 2 * original


def test_the_search_comes_no_less_near_with_every_step(world: ContractWorld) -> None:
    rows = scored(world, world.original).rows
    assert [row["step"] for row in rows] == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    differences = [row["difference"] for row in rows]
    assert differences == sorted(differences, reverse=True)
    assert differences[-1] < 0.9 * differences[0]


def test_a_broken_generator_is_refused_in_words(world: ContractWorld) -> None:
    broken = copy.deepcopy(world.original)
    with torch.no_grad():
        broken.generator.pixels.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="draws NaN or infinite values"):
        scored(world, broken)
