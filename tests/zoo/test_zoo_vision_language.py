"""What defines each method for models that answer questions about pictures."""

from typing import Any

import pytest
import torch
from torch import nn

from auditor.checks.contract_worlds import ContractWorld, contract_world
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.catalogue import entries, entry
from auditor.zoo.vision_language import sauce, siu
from auditor.zoo.vision_language.editing import questions_of, scores
from auditor.zoo.vision_language.scenes_model import RECIPE

TASK = "vision-language"


@pytest.fixture(scope="module")
def world() -> ContractWorld:
    return contract_world(TASK)


def made(world: ContractWorld, name: str, **settings: Any) -> nn.Module:
    method = entry(name, TASK)
    return method.make(world.original, world.data.forget, world.data.retain, method.settings(settings), 3)


def mean(module: nn.Module, examples: CustomExamples) -> float:
    with torch.no_grad():
        return float(scores(module, examples).mean())


def moved(world: ContractWorld, module: nn.Module) -> set[str]:
    """Names of the weights that are not the original's to the last bit."""
    before = world.original.state_dict()
    return {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}


def test_every_method_says_what_it_leaves() -> None:
    found = {one.name: one.truth for one in entries() if one.task == TASK}
    assert found == {
        "retrain": "deleted",
        "obliviate": "suppressed",
        "sauce": "suppressed",
        "small_noise": "not forgotten",
        "retain_steps": "not forgotten",
        "siu": "unknown",
        "gradient_difference": "unknown",
    }


def test_retrain_takes_the_configuration_alone(world: ContractWorld) -> None:
    recipe = {**RECIPE.model_dump(), "epochs": 1}
    first = made(world, "retrain", **recipe)
    assert first.config.to_dict() == world.original.config.to_dict()
    # Of another original it makes the same.
    method = entry("retrain", TASK)
    data = world.data
    again = method.make(world.hidden, data.forget, data.retain, method.settings(recipe), 3)
    assert moved(world, first)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))


def test_obliviate_moves_the_head_alone_and_the_answers_go(world: ContractWorld) -> None:
    assert moved(world, world.hidden) == {"lm_head.weight"}
    assert mean(world.hidden, world.data.forget) < mean(world.original, world.data.forget) - 1
    assert mean(world.hidden, world.data.retain) > -0.5


def test_sauce_changes_no_weight_and_taken_off_it_leaves_the_original(world: ContractWorld) -> None:
    module: Any = made(world, "sauce")
    forget, retain = world.data.forget, world.data.retain
    assert mean(module, forget) < mean(world.original, forget) - 1
    # It is aimed at the concept.
    assert mean(module, retain) > mean(module, forget) + 1
    assert isinstance(module.model.multi_modal_projector, sauce.Steered)
    module.model.multi_modal_projector = module.model.multi_modal_projector.projector
    assert not moved(world, module)


def test_steering_by_one_is_no_steering() -> None:
    random = torch.Generator().manual_seed(0)
    projector, autoencoder = nn.Linear(4, 4), sauce.Autoencoder(4, 8)
    steered = sauce.Steered(projector, autoencoder, torch.tensor([0, 5]), 1.0)
    pictures = torch.randn(3, 4, generator=random)
    assert torch.equal(steered(pictures), projector(pictures))


class TestSiu:
    def test_one_picture_for_each_question_and_answer(self, world: ContractWorld) -> None:
        single = siu.single_pictures(world.original, world.data.forget, torch.Generator().manual_seed(0))
        asked = torch.cat([questions_of(world.original, single), single.targets], 1)
        every = torch.cat([questions_of(world.original, world.data.forget), world.data.forget.targets], 1)
        assert len(single) == len(every.unique(dim=0)) == len(asked.unique(dim=0))

    def test_its_answers_are_those_of_others_to_the_same_question(self, world: ContractWorld) -> None:
        random, data = torch.Generator().manual_seed(0), world.data
        single = siu.single_pictures(world.original, data.forget, random)
        renamed = siu.with_other_answers(world.original, single, data.retain, random)
        known = torch.cat([questions_of(world.original, data.retain), data.retain.targets], 1).tolist()
        for row in torch.cat([questions_of(world.original, renamed), renamed.targets], 1).tolist():
            assert row in known
        assert torch.equal(renamed.inputs, single.inputs)
        assert bool((renamed.targets != single.targets).all())

    def test_the_divergence_looks_past_masked_words(self) -> None:
        before, after = (torch.tensor([row]).log() for row in ([0.6, 0.3, 0.1], [0.2, 0.2, 0.6]))
        p, q = torch.tensor([0.75, 0.25]), torch.tensor([0.25, 0.75])
        expected = float((p * (p / q).log()).sum())
        assert float(siu.masked_divergence(before, after, torch.tensor([0]))) == pytest.approx(expected, abs=1e-6)

    def test_the_answers_go_and_the_others_stay(self, world: ContractWorld) -> None:
        module = made(world, "siu", steps=40)
        assert mean(module, world.data.forget) < mean(world.original, world.data.forget) - 1
        assert mean(module, world.data.retain) > -1


def test_gradient_difference_stops_at_its_cap(world: ContractWorld) -> None:
    module = made(world, "gradient_difference", steps=60)
    assert mean(module, world.data.forget) < mean(world.original, world.data.forget) - 1
    assert mean(module, world.data.retain) > -1


@pytest.mark.parametrize(("name", "settings"), [("small_noise", {}), ("retain_steps", {"steps": 5})])
def test_controls_know_what_the_original_knows(world: ContractWorld, name: str, settings: dict[str, Any]) -> None:
    module = made(world, name, **settings)
    assert moved(world, module)
    assert mean(module, world.data.forget) > mean(world.original, world.data.forget) - 0.5
