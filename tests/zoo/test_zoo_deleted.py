"""Constructions whose result never saw the forget set."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from auditor.errors import ModelError
from auditor.models import training
from auditor.tasks.classification.editing import accuracy, joined
from auditor.tasks.classification.sets import Examples
from auditor.tasks.classification.structure import find_layout
from auditor.zoo import analytic, prompt_partition, retrain, sisa
from auditor.zoo.digits_net import build
from tests.worlds import FORGET, World
from tests.zoo_worlds import few, same

SHORT = retrain.Settings(epochs=1)
SHARDS = sisa.Settings(epochs=1, shards=3)
PROMPTS = prompt_partition.Settings(epochs=4, partitions=3, learning_rate=0.03, weight_decay=0)


def scrambled(forget: Examples) -> Examples:
    """Other images and labels in the forget set's place: what never sees it cannot notice."""
    return replace(forget, raw=torch.rand_like(forget.raw), labels=(forget.labels + 1) % 10)


class TestRetrain:
    def test_it_never_sees_the_forget_set_nor_the_original_weights(self, world: World) -> None:
        forget, retain = few(world)
        made = retrain.retrain(world.modules["original"], forget, retain, SHORT, 4)
        assert same(made, retrain.retrain(world.modules["floor"], scrambled(forget), retain, SHORT, 4))
        assert same(made, training.train(build, retain, SHORT, 4))

    def test_it_starts_from_the_given_weights(self, world: World, tmp_path: Path) -> None:
        forget, retain = few(world)
        save_file(world.modules["floor"].state_dict(), tmp_path / "start.safetensors")
        start = tmp_path / "start.safetensors"
        settings = retrain.StartSettings(epochs=1, start=start, learning_rate=1e-9, weight_decay=0)
        made = retrain.retrain_from_own_weights(world.modules["original"], forget, retain, settings, 4)
        for a, b in zip(made.parameters(), world.modules["floor"].parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-6)

    def test_a_start_of_another_architecture(self, world: World, tmp_path: Path) -> None:
        save_file(nn.Linear(2, 2).state_dict(), tmp_path / "start.safetensors")
        settings = retrain.StartSettings(start=tmp_path / "start.safetensors")
        with pytest.raises(ModelError, match=r"start\.safetensors"):
            retrain.retrain_from_pretrained(world.modules["original"], *few(world), settings, 4)


class TestSisa:
    def test_untouched_shards_are_bit_equal_and_the_affected_one_never_saw_the_forget_set(self, world: World) -> None:
        forget, retain = few(world)
        original = sisa.train_sharded(build, forget, retain, SHARDS, 4)
        before = copy.deepcopy(original)
        subject = sisa.sisa(original, forget, retain, SHARDS, 5)
        assert isinstance(subject, sisa.Sharded)
        assert same(original, before)
        assert [same(subject.shards[i], original.shards[i]) for i in range(3)] == [False, True, True]
        blocks = zip(subject.head.weight.chunk(3, dim=1), original.head.weight.chunk(3, dim=1), strict=True)
        assert [torch.equal(a, b) for a, b in blocks] == [False, True, True]
        # Another original of the same sharding, whose first shard knew other things, ends in the same first shard.
        other = sisa.train_sharded(build, scrambled(forget), retain, SHARDS, 6)
        assert same(subject.shards[0], sisa.sisa(other, forget, retain, SHARDS, 5).shards[0])

    def test_only_the_first_shard_is_trained_on_the_forget_set(self, world: World) -> None:
        forget, retain = few(world)
        original = sisa.train_sharded(build, forget, retain, SHARDS, 4)
        reference = sisa.train_sharded_reference(build, forget, retain, SHARDS, 4)
        assert [same(original.shards[i], reference.shards[i]) for i in range(3)] == [False, True, True]
        assert torch.equal(original.votes, reference.votes)

    def test_a_class_has_the_mean_vote_of_the_shards_that_were_given_it(self, world: World) -> None:
        _, retain = few(world)
        networks = [world.modules[f"reference {i}"] for i in range(2)]
        votes = torch.full((10, 2), 0.5)
        votes[FORGET] = torch.tensor([1.0, 0.0])
        ensemble = sisa.Sharded(networks, votes, retain)
        with torch.no_grad():
            one, two = (network(retain.inputs) for network in networks)
            expected = (one + two) / 2
            expected[:, FORGET] = one[:, FORGET]
            assert torch.allclose(ensemble(retain.inputs), expected, atol=1e-4)

    def test_a_shard_follows_from_the_content(self, world: World) -> None:
        _, retain = few(world)
        parts = sisa.shards_of(retain, 3)
        assert sum(len(part) for part in parts) == len(retain)
        turned = sisa.shards_of(retain.take(torch.arange(len(retain)).flip(0)), 3)
        assert [set(p.content_hashes) for p in parts] == [set(p.content_hashes) for p in turned]

    def test_another_original(self, world: World) -> None:
        with pytest.raises(ModelError, match="sisa needs an original of 3 shards, made by train_sharded"):
            sisa.sisa(world.modules["original"], *few(world), SHARDS, 5)


class TestAnalytic:
    def test_removal_equals_the_fit_without_the_data(self, world: World) -> None:
        forget, retain = few(world)
        backbone, settings = world.modules["retrain"], analytic.Settings()
        original = analytic.fit_analytic(backbone, joined(retain, forget), settings)
        subject = analytic.analytic(original, forget, retain, settings, 0)
        expected = analytic.fit_analytic(backbone, retain, settings)
        assert isinstance(subject.head, analytic.RidgeHead)
        assert torch.allclose(subject.head.solution, expected.head.solution, atol=1e-5)
        assert torch.allclose(subject.head.inverse, expected.head.inverse, atol=1e-5)
        assert not torch.allclose(subject.head.solution, original.head.solution, atol=1e-2)

    def test_the_fit_solves_the_normal_equations(self, world: World) -> None:
        _, retain = few(world)
        settings = analytic.Settings(penalty=0.5, scale=1.0)
        fitted = analytic.fit_analytic(world.modules["retrain"], retain, settings)
        module = copy.deepcopy(world.modules["retrain"])
        module.head = nn.Identity()
        with torch.no_grad():
            features = torch.cat([module(retain.inputs), torch.ones(len(retain), 1)], dim=1).double()
        targets = nn.functional.one_hot(retain.labels, 10).double()
        gradient = features.T @ (features @ fitted.head.solution - targets) + 0.5 * fitted.head.solution
        assert gradient.abs().max() < 1e-8

    def test_another_original(self, world: World) -> None:
        with pytest.raises(ModelError, match="analytic needs an original whose head was made by fit_analytic"):
            analytic.analytic(world.modules["original"], *few(world), analytic.Settings(), 0)


class TestPromptPartition:
    def test_partitions_without_forget_examples_are_bit_equal_and_the_others_retrained_without(
        self, world: World
    ) -> None:
        forget, retain = few(world)
        backbone = world.modules["retrain"]
        anchors = prompt_partition.anchors_of(retain, 3, 0)
        original = prompt_partition.train_prompted(backbone, anchors, joined(retain, forget), PROMPTS, 4)
        touched = set(original.partition_of(forget.inputs).tolist())
        alone = forget.take(original.partition_of(forget.inputs) == min(touched))
        subject = prompt_partition.prompt_partition(original, alone, retain, PROMPTS, 4)
        equal = [
            torch.equal(a, b) and torch.equal(v, w)
            for a, b, v, w in zip(
                subject.prompts,
                original.prompts,
                subject.head.weight.chunk(3, dim=1),
                original.head.weight.chunk(3, dim=1),
                strict=True,
            )
        ]
        assert equal == [i != min(touched) for i in range(3)]
        whole = prompt_partition.prompt_partition(original, forget, retain, PROMPTS, 4)
        assert same(whole, prompt_partition.train_prompted(backbone, anchors, retain, PROMPTS, 4))
        assert same(whole.body, original.body)
        assert accuracy(original, forget) > 0.5
        assert accuracy(whole, forget) == 0

    def test_another_original(self, world: World) -> None:
        with pytest.raises(ModelError, match="prompt_partition needs an original made by train_prompted"):
            prompt_partition.prompt_partition(world.modules["original"], *few(world), PROMPTS, 4)


@pytest.mark.parametrize("mechanism", ["sisa", "analytic", "prompt_partition"])
def test_the_auditor_can_open_it(world: World, mechanism: str) -> None:
    forget, retain = few(world)
    made: dict[str, nn.Module] = {
        "sisa": sisa.train_sharded(build, forget, retain, SHARDS, 4),
        "analytic": analytic.fit_analytic(world.modules["retrain"], retain, analytic.Settings()),
        "prompt_partition": prompt_partition.train_prompted(
            world.modules["retrain"], prompt_partition.anchors_of(retain, 3, 0), retain, PROMPTS, 4
        ),
    }
    layout = find_layout(made[mechanism], retain.inputs[:16])
    assert layout.head == "head"
    assert "head:input" in layout.vector_layers
