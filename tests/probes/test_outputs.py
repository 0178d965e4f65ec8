"""outputs and weight_delta: what the model says, and what moved."""

import copy

import pytest
import torch

from auditor.probes.outputs.images import Outputs
from auditor.probes.weight_delta import WeightDelta
from auditor.tasks.classification.sets import AuditData
from tests.worlds import FORGET, World


def outputs(world: World, name: str, module: torch.nn.Module | None = None) -> float:
    return Outputs().score(world.subject(name, module), None, world.data, None, 0).readings["accuracy"].value


def test_the_original_answers_and_the_others_do_not(world: World) -> None:
    assert outputs(world, "original") > 0.98
    for name in ("retrain", "head_row_zeroed"):
        assert abs(outputs(world, name)) < 0.02


def test_a_model_that_always_says_the_class_knows_nothing(world: World) -> None:
    parrot = copy.deepcopy(world.modules["original"])
    with torch.no_grad():
        parrot.head.weight.zero_()
        parrot.head.bias.zero_()
        parrot.head.bias[FORGET] = 1
    score = Outputs().score(world.subject("parrot", parrot), None, world.data, None, 0)
    assert score.hits == score.n_examples
    assert score.readings["accuracy"].value == 0.0


def test_accuracy_by_hand(world: World) -> None:
    subject = world.subject("retrain")
    score = Outputs().score(subject, None, world.data, None, 0)
    with torch.no_grad():
        said = subject.module(world.data.retain.inputs).argmax(1)
    assert score.retain_accuracy == pytest.approx(float((said == world.data.retain.labels).float().mean()))
    assert score.controls["false alarms on retain"] == pytest.approx(float((said == FORGET).float().mean()))
    assert score.n_examples == len(world.data.forget_attack) + len(world.data.forget_eval)


def test_chance_of_a_sample_request_is_the_holdouts_accuracy(world: World) -> None:
    data = world.data
    samples = AuditData(
        request="sample",
        classes=(),
        n_classes=10,
        forget_attack=data.forget_attack,
        forget_eval=data.forget_eval,
        retain=data.retain,
        holdout=data.holdout,
    )
    score = Outputs().score(world.subject("original"), None, samples, None, 0)
    assert score.chance is not None
    assert score.chance > 0.9
    assert score.readings["accuracy"].value > 0.98


def delta(world: World, module: torch.nn.Module, digest: str = "other"):
    check = WeightDelta()
    artefact = check.prepare(world.subject("original"), world.data, None, 0)
    subject = world.subject("it", module)
    subject.digest = digest
    return check.score(subject, artefact, world.data, None, 0)


def test_identical_weights_accuse_and_the_same_function_elsewhere_does_not(world: World) -> None:
    same = delta(world, world.modules["original"], digest="original")
    assert same.conclusive is not None
    assert same.readings["cosine"].value == pytest.approx(1.0)
    assert delta(world, world.modules["retrain"]).conclusive is None


def test_a_head_only_edit_is_named(world: World) -> None:
    found = delta(world, world.modules["head_row_zeroed"])
    assert any("head.weight" in note for note in found.notes)
    changed = {row["tensor"] for row in found.rows if row["changed"]}
    assert changed == {"head.weight", "head.bias"}


def test_a_low_rank_edit_is_named(world: World) -> None:
    net = copy.deepcopy(world.modules["original"])
    with torch.no_grad():
        for name in ("hidden.0", "hidden.2", "hidden.4"):
            weight = net.get_submodule(name).weight
            u = torch.linspace(-1, 1, weight.shape[0])[:, None]
            weight += 0.1 * u @ torch.linspace(0, 1, weight.shape[1])[None]
    found = delta(world, net)
    assert any("low rank" in note for note in found.notes)
    shares = [row["rank_share"] for row in found.rows if row["rank_share"] is not None]
    assert max(shares) <= 1 / 64
    assert not any("low rank" in note for note in delta(world, world.modules["retrain"]).notes)


def test_relative_change_by_hand(world: World) -> None:
    net = copy.deepcopy(world.modules["original"])
    with torch.no_grad():
        net.head.weight *= 1.5
    row = next(r for r in delta(world, net).rows if r["tensor"] == "head.weight")
    assert row["relative_change"] == pytest.approx(0.5)


def test_a_mask_of_infinities_is_no_change(world: World) -> None:
    """Language models often hold one; the difference of two infinities is no number."""

    def masked(name: str, top: float) -> torch.nn.Module:
        net = copy.deepcopy(world.modules[name])
        net.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1) + top)
        return net

    check = WeightDelta()
    artefact = check.prepare(world.subject("original", masked("original", 0.0)), world.data, None, 0)
    rows = {}
    for name, top in (("retrain", 0.0), ("head_row_zeroed", -torch.inf)):
        found = check.score(world.subject("it", masked(name, top)), artefact, world.data, None, 0)
        rows[name] = next(row for row in found.rows if row["tensor"] == "mask")
    assert (rows["retrain"]["changed"], rows["retrain"]["rank_share"]) == (0.0, None)
    assert rows["head_row_zeroed"]["changed"] == pytest.approx(6 / 9)
    assert rows["head_row_zeroed"]["relative_change"] is None
