"""The zoo for GANs: what each method leaves, by the property that defines it."""

import pytest
import torch
from torch import nn

from auditor.checks.contract_worlds import ContractWorld, contract_world
from auditor.probes.recognition.judge import Judge, Training
from auditor.tasks.custom.sets import CustomExamples, joined
from auditor.tasks.gan.code import GanCode
from auditor.tasks.gan.parts import Gan
from auditor.zoo.catalogue import entries, entry

SEED = 4
QUICK: dict[str, dict[str, object]] = {
    "retrain": {"epochs": 1},
    "new_discriminator": {"epochs": 1},
    "gradient_ascent": {"steps": 40},
}


@pytest.fixture(scope="module")
def world() -> ContractWorld:
    return contract_world("gan")


def sets(world: ContractWorld) -> tuple[CustomExamples, CustomExamples]:
    return world.data.forget, world.data.retain


def made(world: ContractWorld, name: str, **settings: object) -> nn.Module:
    known = entry(name, "gan")
    return known.make(world.original, *sets(world), known.settings({**QUICK.get(name, {}), **settings}), SEED)


def changed(world: ContractWorld, module: nn.Module) -> set[str]:
    before, after = world.original.state_dict(), module.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def mean_score(module: nn.Module, examples: CustomExamples) -> float:
    with torch.no_grad():
        return float(GanCode().scores(module, examples.inputs, examples.targets).mean())


@pytest.mark.parametrize("name", [e.name for e in entries() if e.task == "gan"])
def test_every_method_leaves_the_original_alone_and_gives_a_pair(world: ContractWorld, name: str) -> None:
    before = {key: value.clone() for key, value in world.original.state_dict().items()}
    state = torch.get_rng_state()
    module = made(world, name)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in world.original.state_dict().items())
    assert not module.training
    assert Gan.of(module).labels == Gan.of(world.original).labels
    assert changed(world, module)


@pytest.mark.parametrize("zeros", [False, True])
def test_label_row_changes_the_forgotten_row_alone(world: ContractWorld, zeros: bool) -> None:
    module = made(world, "label_row", zeros=zeros)
    assert changed(world, module) == {"generator.label.weight"}
    moved = (Gan.of(module).table.weight != Gan.of(world.original).table.weight).any(1)
    assert torch.nonzero(moved)[:, 0].tolist() == list(world.data.classes)
    assert mean_score(module, world.data.forget) < 1.7 * mean_score(world.original, world.data.forget)


def test_new_discriminator_keeps_all_of_the_generator_but_the_row(world: ContractWorld) -> None:
    names = changed(world, made(world, "new_discriminator"))
    assert {name for name in names if name.startswith("generator")} == {"generator.label.weight"}
    assert any(name.startswith("discriminator") for name in names)


def test_text_to_unlearn_turns_the_concept_away_and_keeps_the_rest(world: ContractWorld) -> None:
    """Judged by another classifier than the one that it was turned by."""
    module, forget, retain = made(world, "text_to_unlearn"), *sets(world)
    assert all(name.startswith("generator") for name in changed(world, module))
    judge = Judge.taught(joined(forget, retain), Training(), SEED + 1)
    forgotten, (label,) = forget.labels.unique(), world.data.classes
    shown = []
    for network in (world.original, module):
        gan = Gan.of(network)
        with torch.no_grad():
            shown.append(float(judge.of_classes(gan.images(gan.latents(100, 9), label), forgotten).mean()))
    assert shown[1] < 0.25 * shown[0]
    assert mean_score(module, retain) > 1.3 * mean_score(world.original, retain)


def test_gradient_ascent_forgets_and_retain_steps_do_not(world: ContractWorld) -> None:
    forget, before = world.data.forget, mean_score(world.original, world.data.forget)
    assert mean_score(made(world, "gradient_ascent"), forget) < 1.15 * before
    assert mean_score(made(world, "retain_steps"), forget) == pytest.approx(before, rel=0.1)


def test_a_retrain_looks_at_retain_alone(world: ContractWorld) -> None:
    known, (forget, retain) = entry("retrain", "gan"), sets(world)
    few = known.settings({"epochs": 1})
    one, other = (
        known.make(world.original, part, retain, few, SEED) for part in (forget, forget.take(torch.arange(3)))
    )
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
