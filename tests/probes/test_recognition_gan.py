"""What a judge recognises in what a GAN draws, under whichever label; from a blind judge nothing follows."""

import copy

import pytest
import torch

from auditor.checks.contract_worlds import ContractWorld, contract_world
from auditor.probes.recognition.gan import DEGREE, RECOGNISED, Recognition, Settings
from auditor.probes.recognition.judge import Judge, Training
from auditor.records.score import Score
from auditor.zoo.fresh import reinitialised

CHECK, SETTINGS, SEED = Recognition(), Settings(), 5


@pytest.fixture(scope="module")
def world() -> ContractWorld:
    return contract_world("gan")


@pytest.fixture(scope="module")
def judge(world: ContractWorld) -> Judge:
    return CHECK.prepare(world.subject(world.original), world.data, SETTINGS, SEED)


def scored(world: ContractWorld, judge: Judge, module: torch.nn.Module) -> Score:
    return CHECK.score(world.subject(module), judge, world.data, SETTINGS, SEED)


def test_the_judge_knows_classes_from_blends(world: ContractWorld, judge: Judge) -> None:
    eval_half, retain = world.data.forget_eval, world.data.retain
    forgotten = eval_half.labels.unique()
    assert float(judge.of_classes(eval_half.inputs, forgotten).mean()) > 0.6
    assert float(judge.of_classes(retain.inputs, forgotten).mean()) < 0.05
    blends = (eval_half.inputs[:20] + retain.inputs[:20]) / 2
    assert float(judge.log_probabilities(blends)[:, -1].exp().mean()) > 0.5


def test_an_original_draws_the_class_and_a_label_off_or_a_fresh_network_does_not(
    world: ContractWorld, judge: Judge
) -> None:
    original = scored(world, judge, world.original)
    hidden = scored(world, judge, world.hidden)
    fresh = scored(world, judge, reinitialised(world.original, 3))
    value = {name: score.readings[RECOGNISED].value for name, score in (("o", original), ("h", hidden), ("f", fresh))}
    assert value["o"] > 0.5
    assert value["h"] < value["o"] / 2
    assert value["f"] < value["o"] / 4
    # Distance of the scores from the original's; a fresh network is no less far away.
    degrees = CHECK.summarise({"original": original, "unlearned": hidden}, ())[1]
    assert degrees["original"][DEGREE] == 0
    assert degrees["unlearned"][DEGREE] > 0.25


def test_a_class_that_is_drawn_under_another_label_is_seen_as_well(world: ContractWorld, judge: Judge) -> None:
    moved = copy.deepcopy(world.original)
    with torch.no_grad():
        table = moved.generator.label.weight
        table.copy_(table.roll(1, 0))
    before, after = (scored(world, judge, module).readings[RECOGNISED].value for module in (world.original, moved))
    assert after == pytest.approx(before, rel=1e-4)


def test_from_a_judge_that_recognises_nothing_nothing_follows(world: ContractWorld) -> None:
    blind = Judge.taught(world.data.retain, Training(steps=1), SEED)
    score = scored(world, blind, world.original)
    assert score.not_applicable_because is not None
    assert "recognises only 0 % of real forget examples" in score.not_applicable_because
