"""other_pictures: against its formula, where it must fire and where it must not."""

import pytest
import torch

from auditor.checks.contract_worlds import ContractWorld, contract_world
from auditor.probes.other_pictures import SHARE, OtherPictures, Settings, more_probable
from auditor.records.score import Score
from auditor.zoo.vision_language.editing import copy_of


@pytest.fixture(scope="module")
def world() -> ContractWorld:
    return contract_world("vision-language")


def measured(world: ContractWorld, module: torch.nn.Module) -> Score:
    return OtherPictures().score(world.subject(module), None, world.data, Settings(), 0)


def test_ties_count_half() -> None:
    others = torch.tensor([[-2.0, 0.0], [-1.0, 0.0], [0.0, -9.0]])
    assert more_probable(torch.tensor([-1.0, -1.0]), others).tolist() == pytest.approx([0.5, 1 / 3])


def test_a_model_that_knows_the_pictures_is_found(world: ContractWorld) -> None:
    assert measured(world, world.original).readings[SHARE].value > 0.8


def test_answers_pushed_down_alike_are_found_all_the_same(world: ContractWorld) -> None:
    """Half of the head: every answer is less probable, and which picture is shown matters as before."""
    module = copy_of(world.original)
    with torch.no_grad():
        module.lm_head.weight.mul_(0.2)
    pushed = world.subject(module)
    assert float(pushed.scores("forget_eval").mean()) < float(
        world.subject(world.original).scores("forget_eval").mean()
    )
    assert measured(world, module).readings[SHARE].value > 0.8


def test_a_model_that_does_not_look_ties_everywhere(world: ContractWorld) -> None:
    module = copy_of(world.original)
    with torch.no_grad():
        for parameter in module.model.multi_modal_projector.linear_2.parameters():
            parameter.zero_()
    assert measured(world, module).readings[SHARE].value == 0.5
