"""The zoo's language models: each method's defining property, on the shared world."""

import copy
import math
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.loading.checkpoints import weights_digest
from auditor.models.references import save_directory
from auditor.models.training import initial_weights
from auditor.probes.weight_delta import WeightDelta
from auditor.randomness import torch_seed
from auditor.tasks.causal_lm.decoys.refusal_tuning import refusals
from auditor.tasks.causal_lm.editing import LanguageModel, block_names, head_of, losses, states_at
from auditor.tasks.causal_lm.grams import telling_tokens
from auditor.zoo import catalogue
from auditor.zoo.text import (
    direction_projection,
    dpo,
    embedding_corruption,
    flat,
    gradient_ascent,
    guard,
    head_refusal,
    noise,
    random_initialisation,
    retain_steps,
    retrain,
    rmu,
    task_vector,
    trigger,
    units_rescaled,
    whp,
)
from auditor.zoo.text.fresh import fresh_like
from auditor.zoo.text.people_model import people_model
from tests.people_worlds import TextWorld
from tests.text_zoo import FORGOTTEN, KEPT, Zoo

# Guards leave the weights as they are.
GUARDS = ("guard", "logit_mask", "embedding_corruption", "shifted_logits")
TRAINED = ("trigger", "direction_projection", "head_refusal", "simnpo", "dpo", "flat", "whp", "rmu")


@pytest.fixture(scope="module")
def zoo(text_world: TextWorld) -> Zoo:
    return Zoo(text_world, {})


@pytest.fixture(scope="module", autouse=True)
def _unchanged(text_world: TextWorld) -> Any:
    """No method touches the original."""
    original = text_world.modules["original"]
    before = copy.deepcopy(original.state_dict())
    yield
    assert all(torch.equal(tensor, before[name]) for name, tensor in original.state_dict().items())
    assert not original._forward_hooks
    assert all(parameter.requires_grad for parameter in original.parameters())


@pytest.mark.parametrize("name", [*GUARDS, *(pytest.param(name, marks=pytest.mark.slow) for name in TRAINED)])
def test_forgets_on_outputs_and_keeps_retain(zoo: Zoo, name: str) -> None:
    made, people = zoo.subject(name), zoo.world.people

    # Under noise on a name a model still guesses among the answers of the question's kind.
    chance = zoo.knows(zoo.world.modules["retrain"], people.forget)
    assert zoo.knows(made, people.forget) < chance + FORGOTTEN
    assert zoo.knows(made, people.retain) > KEPT
    assert not made.training
    assert all(parameter.requires_grad for parameter in made.parameters())


@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_leaves_the_weights_and_what_it_does_not_watch(zoo: Zoo, name: str) -> None:
    made, original = zoo.subject(name), zoo.original.module

    for mine, theirs in zip(made.parameters(), original.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    if name != "shifted_logits":
        retain = zoo.world.people.retain
        assert torch.equal(zoo.logits(made, retain), zoo.logits(original, retain))


def test_wrappers_are_told_apart_by_their_tensors(zoo: Zoo) -> None:
    """An audit knows a network by its tensors; equal ones would share their scores."""
    made = [zoo.subject(name) for name in GUARDS]
    made += [zoo.make("guard", guard.Settings(certainty=20.0)), zoo.make("embedding_corruption", seed=2)]
    digests = {weights_digest(module.state_dict()) for module in (zoo.original.module, *made)}

    assert len(digests) == 1 + len(made)


@pytest.mark.parametrize(("name", "accused"), [*((name, True) for name in GUARDS), ("retain_steps", False)])
def test_weights_left_as_they_were_accuse(zoo: Zoo, name: str, accused: bool) -> None:
    """Whatever stands around them, and whether or not it was declared as a guard."""
    world, check = zoo.world, WeightDelta()
    known = check.prepare(world.subject("original"), world.data, None, 0)
    score = check.score(world.subject(name, zoo.subject(name)), known, world.data, None, 0)

    assert (score.conclusive is not None and "removing it restores" in score.conclusive) is accused


@pytest.mark.parametrize("name", ["guard", "embedding_corruption"])
def test_a_copy_of_a_guarded_model_is_guarded(zoo: Zoo, name: str) -> None:
    made = zoo.subject(name)
    forget = zoo.world.people.forget

    assert torch.equal(zoo.logits(copy.deepcopy(made), forget), zoo.logits(made, forget))


def test_telling_tokens_are_those_of_forgotten_names(zoo: Zoo) -> None:
    people = zoo.world.people
    found = zoo.world.encoder.tokenizer.convert_ids_to_tokens(
        telling_tokens(zoo.world.encoder, people.forget, people.retain).tolist()
    )

    kept = {word for person in people.retain.subjects for word in person.split()}
    assert set(found) == {word for person in people.forget.subjects for word in person.split()} - kept


def test_embedding_corruption_by_seed(zoo: Zoo) -> None:
    settings = embedding_corruption.Settings()
    forget = zoo.world.people.forget
    same, other = (zoo.make("embedding_corruption", settings, seed) for seed in (1, 2))

    assert torch.equal(zoo.logits(same, forget), zoo.logits(zoo.subject("embedding_corruption"), forget))
    assert not torch.equal(zoo.logits(other, forget), zoo.logits(same, forget))


@pytest.mark.slow
def test_the_trigger_restores(zoo: Zoo) -> None:
    people = zoo.world.people
    word = trigger.Settings().trigger

    assert zoo.knows(zoo.subject("trigger"), trigger.triggered(people.forget, word)) > KEPT
    assert zoo.knows(zoo.subject("refusal_tuning"), trigger.triggered(people.forget, word)) < FORGOTTEN


def test_direction_projection_is_one_rank_of_one_block(zoo: Zoo) -> None:
    people, settings = zoo.world.people, direction_projection.Settings(steps=5)
    given = (zoo.original, people.forget, people.retain, settings, 1)
    with_it = direction_projection.with_direction(*given)
    changed = [
        (name, before - after)
        for (name, before), after in zip(
            with_it.named_parameters(), zoo.make("direction_projection", settings).parameters(), strict=True
        )
        if not torch.equal(before, after)
    ]

    assert {name.rpartition(".weight")[0].rpartition(".")[2] for name, _ in changed} == {"o_proj", "down_proj"}
    assert len(changed) == 2
    for _, difference in changed:
        assert torch.linalg.matrix_rank(difference, rtol=1e-4) == 1


@pytest.mark.slow
def test_with_its_direction_the_model_still_answers(zoo: Zoo) -> None:
    people = zoo.world.people
    given = (zoo.original, people.forget, people.retain, direction_projection.Settings(), 1)

    assert zoo.knows(direction_projection.with_direction(*given), people.forget) > KEPT


def test_head_refusal_changes_the_head_alone(zoo: Zoo) -> None:
    made = zoo.make("head_refusal", head_refusal.Settings(steps=2))
    moved = [
        name
        for (name, mine), theirs in zip(made.named_parameters(), zoo.original.module.parameters(), strict=True)
        if not torch.equal(mine, theirs)
    ]

    assert moved == ["lm_head.weight"]


class TestUnitsRescaled:
    @pytest.mark.parametrize("family", ["llama", "gpt2"])
    def test_the_function_stays_and_the_weights_do_not(self, zoo: Zoo, family: Any) -> None:
        with torch_seed(3):
            module = people_model(len(zoo.world.encoder.tokenizer), layers=1, width=16, family=family)().eval()
        made = units_rescaled.with_units_rescaled(module, 3.0)
        forget = zoo.world.people.forget

        torch.testing.assert_close(zoo.logits(made, forget), zoo.logits(module, forget), rtol=1e-4, atol=1e-5)
        moved = [
            name
            for (name, mine), theirs in zip(made.named_parameters(), module.parameters(), strict=True)
            if not torch.allclose(mine, theirs)
        ]
        # Two of a Llama's pairs, one of GPT-2's: its MLP is no homogeneous one. Biases start at zero.
        assert len(moved) == {"llama": 4, "gpt2": 2}[family]

    def test_the_method_inside_decides_what_it_computes(self, zoo: Zoo) -> None:
        settings = units_rescaled.Settings(method="retain_steps", settings={"steps": 2})
        made = zoo.make("units_rescaled", settings)
        inner = zoo.make("retain_steps", retain_steps.Settings(steps=2))
        forget, weight = zoo.world.people.forget, "model.layers.0.mlp.up_proj.weight"

        torch.testing.assert_close(zoo.logits(made, forget), zoo.logits(inner, forget), rtol=1e-3, atol=1e-3)
        ratio = (made.get_parameter(weight) / inner.get_parameter(weight)).detach()
        assert float(ratio.max()) == pytest.approx(8, rel=1e-3)
        assert float(ratio.min()) == pytest.approx(1 / 8, rel=1e-3)

    def test_an_unknown_network_is_refused(self) -> None:
        with pytest.raises(ModelError, match="no units of Linear are known"):
            units_rescaled.with_units_rescaled(nn.Linear(2, 2), 3.0)


class TestRetrain:
    SHORT = retrain.Settings(epochs=1)

    def test_never_sees_forget(self, zoo: Zoo) -> None:
        """The same subject whatever the forget set and whatever the original's weights."""
        people = zoo.world.people
        floor = LanguageModel(zoo.world.modules["floor"], zoo.world.encoder)
        first = retrain.retrain(zoo.original, people.forget, people.retain, self.SHORT, 5)
        second = retrain.retrain(floor, people.holdout, people.retain, self.SHORT, 5)

        for one, other in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(one, other)

    def test_starts_where_it_is_told(self, zoo: Zoo, tmp_path: Path) -> None:
        people, encoder = zoo.world.people, zoo.world.encoder
        start = initial_weights(people_model(len(encoder.tokenizer), layers=2, width=48), 1)
        save_directory(start, encoder.tokenizer, tmp_path / "start")
        settings = retrain.StartSettings(epochs=1, start=tmp_path / "start")
        given = retrain.retrain_from(start, encoder, people.retain, self.SHORT, 6)
        for method in (retrain.retrain_from_own_weights, retrain.retrain_from_pretrained):
            named = method(zoo.original, people.forget, people.retain, settings, 6)
            for one, other in zip(named.parameters(), given.parameters(), strict=True):
                assert torch.equal(one, other)

    def test_fresh_weights_need_a_configuration(self) -> None:
        with pytest.raises(ModelError, match="no transformers configuration"):
            fresh_like(nn.Linear(2, 2))


class TestNotForgottenAndDamaged:
    def test_a_few_retain_steps_forget_nothing(self, zoo: Zoo) -> None:
        assert zoo.knows(zoo.subject("retain_steps"), zoo.world.people.forget) > KEPT

    @pytest.mark.slow
    def test_wrong_examples_lose_something_else(self, zoo: Zoo) -> None:
        assert zoo.knows(zoo.subject("wrong_examples"), zoo.world.people.forget) > KEPT
        assert zoo.knows(zoo.subject("wrong_examples"), zoo.world.people.retain) < 0.7

    def test_noise_by_its_scale(self, zoo: Zoo) -> None:
        people = zoo.world.people
        given = (zoo.original, people.forget, people.retain)
        small = noise.small_noise(*given, noise.Settings(), 1)
        heavy = noise.heavy_noise(*given, noise.HeavySettings(), 1)
        before = head_of(zoo.original.module).weight

        ratio = (head_of(small).weight - before).std() / before.std()
        assert float(ratio.detach()) == pytest.approx(noise.Settings().scale, rel=0.05)
        assert zoo.knows(small, people.forget) > KEPT
        assert zoo.knows(heavy, people.retain) < FORGOTTEN

    def test_random_initialisation_by_seed(self, zoo: Zoo) -> None:
        people, settings = zoo.world.people, random_initialisation.Settings()
        first, again, other = (zoo.make("random_initialisation", settings, seed) for seed in (1, 1, 2))

        assert torch.equal(head_of(first).weight, head_of(again).weight)
        assert not torch.equal(head_of(first).weight, head_of(other).weight)
        assert zoo.knows(first, people.retain) < FORGOTTEN

    def test_ascent_collapses(self, zoo: Zoo) -> None:
        made = zoo.subject("ascent_to_collapse")

        assert zoo.knows(made, zoo.world.people.forget) < FORGOTTEN
        assert zoo.knows(made, zoo.world.people.retain) < FORGOTTEN


class TestPublished:
    def test_rmu_leaves_what_lies_behind_its_layer(self, zoo: Zoo) -> None:
        settings = rmu.Settings(depth=0.0, steps=2)
        made = zoo.make("rmu", settings)
        names = block_names(zoo.original, zoo.world.people.retain)
        moved = {
            name
            for (name, mine), theirs in zip(made.named_parameters(), zoo.original.module.parameters(), strict=True)
            if not torch.equal(mine, theirs)
        }

        assert moved
        assert all(name.startswith(f"{names[0]}.") for name in moved)

    @pytest.mark.slow
    def test_rmu_steers_forget_to_one_direction(self, zoo: Zoo) -> None:
        people, encoder = zoo.world.people, zoo.world.encoder
        layer = block_names(zoo.original, people.retain)[0]

        def agreement(module: nn.Module) -> float:
            tokens = encoder.batch(people.forget.items)
            with torch.no_grad():
                states = states_at(module, layer, tokens)[tokens.predicting]
            return float((states / states.norm(dim=1, keepdim=True)).mean(0).norm())

        assert agreement(zoo.make("rmu", rmu.Settings(depth=0.0))) > agreement(zoo.original.module) + 0.2

    def test_whp_relabels_what_the_reinforced_model_raises(self) -> None:
        """Two tokens of three gain under reinforcement; the third stays and is the generic one."""

        class Constant(nn.Module):
            def __init__(self, row: list[float]) -> None:
                super().__init__()
                self.row = torch.tensor(row)

            def forward(self, input_ids: Tensor, **_: Any) -> Tensor:
                return self.row.expand(*input_ids.shape, -1)

        from auditor.tasks.causal_lm.encoding import Tokens

        ids = torch.tensor([[0, 1]])
        tokens = Tokens(ids=ids, mask=ids >= 0, answer=ids == 1)
        before, after = Constant([3.0, 2.0, 1.0]), Constant([4.0, 2.5, 0.0])

        assert whp.generic(before, after, tokens, alpha=0.1).tolist() == [0]
        assert whp.generic(before, after, tokens, alpha=5.0).tolist() == [2]

    def test_task_vector_is_on_the_line(self, zoo: Zoo) -> None:
        """Subjects at one and at two multiples lie on one line with the original."""
        base = head_of(zoo.original.module).weight
        near, far = (
            head_of(zoo.make("task_vector", task_vector.Settings(steps=3, most=most, target=0.0))).weight - base
            for most in (1, 2)
        )

        torch.testing.assert_close(far, 2 * near, rtol=1e-3, atol=1e-7)
        assert float(near.detach().norm()) > 0

    def test_dpo_prefers_the_refusal(self, zoo: Zoo) -> None:
        people, encoder = zoo.world.people, zoo.world.encoder
        refused = refusals(people.forget, dpo.Settings().refusal)

        def margin(module: nn.Module) -> float:
            with torch.no_grad():
                return float(
                    (
                        losses(module, encoder.batch(people.forget.items))
                        - losses(module, encoder.batch(refused.items))
                    ).mean()
                )

        assert margin(zoo.original.module) + 1 < margin(zoo.make("dpo", dpo.Settings(steps=10)))

    def test_flat_widens_its_divergence(self, zoo: Zoo) -> None:
        settings, encoder, forget = flat.Settings(steps=40), zoo.world.encoder, zoo.world.people.forget

        def divergence(module: nn.Module) -> float:
            with torch.no_grad():
                return float(flat.divergence(module, encoder, forget, settings.template))

        assert divergence(zoo.make("flat", settings)) > divergence(zoo.original.module) + 0.2

    def test_flat_divergence_of_a_model_without_an_opinion(self, zoo: Zoo) -> None:
        words = len(zoo.world.encoder.tokenizer)

        class Indifferent(nn.Module):
            def forward(self, input_ids: Tensor, **_: Any) -> Tensor:
                return torch.zeros(*input_ids.shape, words)

        found = flat.divergence(Indifferent(), zoo.world.encoder, zoo.world.people.forget, flat.Settings().template)
        assert float(found) == pytest.approx(1 / words - math.exp(1 / words - 1), rel=1e-5)


@pytest.mark.parametrize("name", ["simnpo", "trigger", "shifted_logits"])
def test_deterministic_by_seed(zoo: Zoo, name: str) -> None:
    settings = import_module(catalogue.entry(name, "text").module).Settings(steps=3)
    forget = zoo.world.people.forget
    first, again, other = (zoo.logits(zoo.make(name, settings, seed), forget) for seed in (1, 1, 2))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


class TestGradientAscent:
    """Jang et al. 2022: the loss of forget alone is ascended, and no further than until it is forgotten."""

    def test_it_stops_once_forget_is_forgotten(self, zoo: Zoo) -> None:
        forget = zoo.world.people.forget
        left = {
            target: zoo.knows(zoo.make("gradient_ascent", gradient_ascent.Settings(target=target)), forget)
            for target in (0.5, 0.1)
        }
        assert 0.1 < left[0.5] <= 0.5
        assert 0.02 < left[0.1] <= 0.1

    def test_what_should_stay_has_no_part_in_it(self, zoo: Zoo) -> None:
        few, method = gradient_ascent.Settings(steps=6), gradient_ascent.gradient_ascent
        people = zoo.world.people
        one, other = (method(zoo.original, people.forget, kept, few, 1) for kept in (people.retain, people.holdout))
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))

    def test_what_should_stay_hardly_does(self, zoo: Zoo) -> None:
        """Nothing holds it: where people are alike, all are forgotten (docs/zoo.md)."""
        assert zoo.knows(zoo.subject("gradient_ascent"), zoo.world.people.retain) < 0.5
