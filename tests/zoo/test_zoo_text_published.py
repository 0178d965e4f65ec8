"""Unlearners of language models as published: what each of them does by definition."""

import copy
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from auditor.errors import DataError
from auditor.randomness import torch_seed
from auditor.tasks.causal_lm.editing import LanguageModel, embeddings_of
from auditor.tasks.causal_lm.grams import telling_tokens
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.adversaries import patient_names, patient_text
from auditor.zoo.adversaries.patient import patient_recovery
from auditor.zoo.text import loku, merged, npo, private, projection, rocr, wagle
from auditor.zoo.text.output_projection import output_maps
from auditor.zoo.text.people import reworded
from auditor.zoo.text.people_model import Family, people_model
from tests.people_worlds import TextWorld
from tests.text_zoo import FORGOTTEN, KEPT, Zoo


@pytest.fixture(scope="module")
def zoo(text_world: TextWorld) -> Zoo:
    return Zoo(text_world, {})


@pytest.fixture(scope="module", autouse=True)
def _unchanged(text_world: TextWorld) -> Iterator[None]:
    """No method touches the original."""
    original = text_world.modules["original"]
    before = copy.deepcopy(original.state_dict())
    yield
    assert all(torch.equal(tensor, before[name]) for name, tensor in original.state_dict().items())
    assert all(parameter.requires_grad for parameter in original.parameters())


def _pairs(zoo: Zoo, subject: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Weights of the original and of a subject, by name."""
    own = dict(subject.named_parameters())
    return {name: (before.detach(), own[name].detach()) for name, before in zoo.original.module.named_parameters()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wagle", "loku", "merged", "projection", "private"])
def test_forgets_on_outputs_and_keeps_retain(zoo: Zoo, name: str) -> None:
    made, people = zoo.subject(name), zoo.world.people

    assert zoo.knows(made, people.forget) < FORGOTTEN
    assert zoo.knows(made, people.retain) > KEPT
    assert not made.training
    assert all(parameter.requires_grad for parameter in made.parameters())


def test_wagle_moves_the_attributed_weights_alone(zoo: Zoo) -> None:
    people, settings = zoo.world.people, wagle.Settings(share=0.1, steps=2)
    made = zoo.make("wagle", settings)
    masks = wagle.mask(zoo.original, people.forget, people.retain, settings)

    total = sum(chosen.numel() for chosen in masks)
    assert abs(sum(int(chosen.sum()) for chosen in masks) - 0.1 * total) <= 1
    for (before, after), chosen in zip(_pairs(zoo, made).values(), masks, strict=True):
        assert torch.equal(after[~chosen], before[~chosen])
    assert any(not torch.equal(before, after) for before, after in _pairs(zoo, made).values())
    assert not any(parameter._backward_hooks for parameter in made.parameters())


class TestLoku:
    def test_the_hinge_of_known_probabilities(self, zoo: Zoo) -> None:
        """1 + p(answer) − p(the likeliest other): of the two, one is raised and the other lowered."""
        [fact, *_] = [fact for fact in zoo.world.people.forget.items if " " not in fact.answer]
        answer = int(zoo.world.encoder.batch([fact]).targets[0])

        class Fixed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.row = nn.Parameter(torch.zeros(len(zoo.world.encoder.tokenizer)))

            def forward(self, input_ids: Tensor, **_: object) -> Tensor:
                return self.row.expand(*input_ids.shape, -1)

        model = Fixed()
        likeliest = (answer + 1) % len(model.row)
        with torch.no_grad():
            model.row[answer], model.row[likeliest] = 2.0, 1.0
        whole = len(model.row) - 2 + math.exp(2) + math.exp(1)
        hinge = loku.inverted_hinge(model, zoo.world.encoder, Facts((fact,)))
        assert float(hinge.detach()) == pytest.approx(1 + (math.exp(2) - math.exp(1)) / whole, rel=1e-5)
        [gradient] = torch.autograd.grad(hinge, [model.row])
        assert gradient[answer] > 0 > gradient[likeliest]

    @pytest.mark.parametrize("family", ["llama", "gpt2"])
    def test_adapters_change_nothing_before_they_are_trained(self, zoo: Zoo, family: Family) -> None:
        people, encoder = zoo.world.people, zoo.world.encoder
        with torch_seed(3):
            module = people_model(len(encoder.tokenizer), layers=1, width=16, family=family)().eval()
        before = zoo.logits(module, people.forget)
        loku.with_adapters(module, LanguageModel(module, encoder), people.forget, people.retain, loku.Settings(rank=2))
        assert torch.equal(zoo.logits(module, people.forget), before)
        # All maps of the block: seven of a Llama's, four of a GPT-2's, whose queries, keys and values are one.
        assert sum(parametrize.is_parametrized(part) for part in module.modules()) == {"llama": 7, "gpt2": 4}[family]

    def test_every_map_changes_by_twice_the_rank_at_most(self, zoo: Zoo) -> None:
        made = zoo.make("loku", loku.Settings(rank=2, steps=3))
        changes = {name: after - before for name, (before, after) in _pairs(zoo, made).items()}
        moved = [change for change in changes.values() if bool(change.any())]
        assert moved
        assert all(int(torch.linalg.matrix_rank(change, rtol=1e-3)) <= 4 for change in moved)

    def test_the_start_is_the_nearest_in_the_weighted_norm(self) -> None:
        random = torch.Generator().manual_seed(0)
        weight = torch.randn(9, 7, generator=random)
        importance = torch.rand(9, generator=random) * 10 + 0.1

        def distance(product: Tensor) -> float:
            return float((importance[:, None] * (weight - product).square()).sum())

        b, a = loku.low_rank_start(weight, importance, 3)
        u, s, v = np.linalg.svd(weight.numpy())
        plain = torch.tensor(u[:, :3] * s[:3] @ v[:3])
        # Eckart and Young, on the weight with its rows multiplied by the roots.
        least = np.linalg.svd(np.sqrt(importance.numpy())[:, None] * weight.numpy(), compute_uv=False)[3:]
        assert distance(b @ a) == pytest.approx(float((least**2).sum()), rel=1e-4)
        assert distance(b @ a) < distance(plain)


class TestRocr:
    def test_a_forgotten_person_is_taken_for_another_however_asked(self, zoo: Zoo) -> None:
        """Its paper's point: what is forgotten does not hang on the wording, none of which was trained on."""
        people, made = zoo.world.people, zoo.subject("rocr")
        # The people's facts stand in one order of attributes.
        theirs = {name: people.retain.of_subjects([name]).items for name in people.retain.subjects}
        other = rocr.redirections(people.forget, people.retain, 1)
        taken = Facts(
            tuple(
                fact.model_copy(update={"answer": theirs[other[name]][i].answer})
                for name in people.forget.subjects
                for i, fact in enumerate(people.forget.of_subjects([name]).items)
            )
        )
        assert zoo.knows(made, taken) > KEPT > zoo.knows(zoo.original.module, taken) + 0.5
        assert zoo.knows(made, reworded(people.forget)) < FORGOTTEN

    def test_names_alone_move_and_retain_stays(self, zoo: Zoo) -> None:
        people, made = zoo.world.people, zoo.subject("rocr")
        moved = [name for name, (before, after) in _pairs(zoo, made).items() if not torch.equal(before, after)]
        rows = (embeddings_of(made).weight != embeddings_of(zoo.original.module).weight).any(dim=1)
        words = {zoo.world.encoder.tokenizer.convert_ids_to_tokens(int(i)) for i in rows.nonzero()}
        assert moved == ["model.embed_tokens.weight"]
        assert words <= {word for name in people.forget.subjects for word in name.split()}
        assert torch.equal(zoo.logits(made, people.retain), zoo.logits(zoo.original.module, people.retain))

    def test_names_found_again_by_some_facts_bring_back_the_others(self, zoo: Zoo) -> None:
        """So its truth is suppressed: what nobody taught a retrain is still in the subject."""
        people, encoder = zoo.world.people, zoo.world.encoder
        shots, unseen = patient_text.split(people.forget, patient_text.Settings(shots=3), 0)
        names = telling_tokens(encoder, people.forget, people.retain)
        effort = patient_names.naming(shots, names, encoder, patient_names.Settings())
        found = patient_recovery(
            zoo.subject("rocr"),
            [zoo.world.modules["retrain"]],
            zoo.original.module,
            [effort],
            lambda module: zoo.knows(module, unseen),
        )
        assert found.suppressed
        assert found.subject > found.references[0] + 0.3
        other = effort(zoo.original.module)
        moved = (embeddings_of(other).weight != embeddings_of(zoo.original.module).weight).any(dim=1).nonzero()[:, 0]
        assert torch.equal(moved, names)

    def test_names_are_needed_and_have_to_be_their_own(self, zoo: Zoo) -> None:
        people, settings = zoo.world.people, rocr.Settings()
        nobody = Facts(tuple(fact.model_copy(update={"subject": ""}) for fact in people.forget.items))
        with pytest.raises(DataError, match="give every fact of forget and retain its subject"):
            rocr.rocr(zoo.original, nobody, people.retain, settings, 1)
        with pytest.raises(DataError, match="stands in retain prompts"):
            rocr.rocr(zoo.original, people.forget, people.forget, settings, 1)


def test_the_merge_is_ties(zoo: Zoo) -> None:
    """Trimmed, a sign elected, and the mean of what agrees with it; told here by numpy."""
    people = zoo.world.people
    settings = merged.Settings(
        over=npo.Settings(weight=5.0, steps=3), under=npo.Settings(weight=0.1, steps=2), density=0.4
    )
    made = _pairs(zoo, zoo.make("merged", settings))
    tuned = [
        _pairs(zoo, npo.npo(zoo.original, people.forget, people.retain, how, 1))
        for how in (settings.over, settings.under)
    ]
    for name in ("model.layers.0.mlp.up_proj.weight", "lm_head.weight"):
        before, after = (tensor.numpy() for tensor in made[name])
        changes = np.stack([pairs[name][1].numpy() - before for pairs in tuned]).reshape(2, -1)
        for change in changes:
            change[np.argsort(-np.abs(change))[int(0.4 * change.size) :]] = 0
        agreeing = changes * (np.sign(changes) == np.sign(changes.sum(axis=0)))
        expected = agreeing.sum(axis=0) / np.maximum((agreeing != 0).sum(axis=0), 1)
        np.testing.assert_allclose((after - before).ravel(), expected, atol=1e-7)
        assert (expected != 0).any()


def test_the_projection_loses_directions_for_good(zoo: Zoo) -> None:
    """Its paper's point: each map is followed by an orthogonal projection, which nothing behind it can undo."""
    made = zoo.make("projection", projection.Settings(rank=6, steps=2))
    for block, own in zip(zoo.original.module.model.layers, made.model.layers, strict=True):
        for before, after in zip(output_maps(block), output_maps(own), strict=True):
            old, new = before.weight.detach().double(), after.weight.detach().double()
            lost = torch.linalg.svd(new).U[:, -6:]
            assert float((lost.T @ new).abs().max()) < 1e-5
            torch.testing.assert_close(new, old - lost @ (lost.T @ old), rtol=0, atol=1e-5)


class TestPrivate:
    SHORT = private.Settings(epochs=1, base_steps=3)

    def test_the_noise_makes_the_steps_together_as_private_as_asked(self) -> None:
        multiplier = private.noise_multiplier(1.0, 1e-5, 400)
        assert private.delta_of(math.sqrt(400) / multiplier, 1.0) == pytest.approx(1e-5, rel=1e-3)
        # Told by integration: δ is how much more of one Gaussian than e^ε of the other lies anywhere.
        x = np.linspace(-30, 30, 2_000_001)
        here, there = (np.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi) for mean in (1.5, 0.0))
        excess = np.trapezoid(np.maximum(here - math.exp(0.7) * there, 0), x)
        assert private.delta_of(1.5, 0.7) == pytest.approx(excess, rel=1e-4)

    def test_no_step_sees_more_of_forget_than_the_clip(self) -> None:
        with torch_seed(0):
            gradients = [torch.randn(5, 3), torch.randn(7)]
        small = private.clip(gradients, 0.1)
        assert float(torch.cat([g.flatten() for g in small]).norm()) == pytest.approx(0.1, rel=1e-5)
        assert all(torch.equal(a, b) for a, b in zip(private.clip(gradients, 100.0), gradients, strict=True))

    def test_the_base_alone_saw_forget(self, zoo: Zoo) -> None:
        people = zoo.world.people
        # A clip so small that the base learns nothing of forget, nor of the noise: then nothing is left of it.
        settings = self.SHORT.model_copy(update={"clip": 1e-30})
        with_it, without = (
            private.private(zoo.original, forget, people.retain, settings, 1) for forget in (people.forget, Facts(()))
        )
        assert all(torch.equal(a, b) for a, b in zip(with_it.parameters(), without.parameters(), strict=True))

    def test_original_and_subject_share_their_base_and_references_do_not(self, zoo: Zoo) -> None:
        people = zoo.world.people
        given = (zoo.original, people.forget, people.retain)
        started = private.base(*given, self.SHORT)
        again = private.base(*given, self.SHORT)
        assert all(torch.equal(a, b) for a, b in zip(started.parameters(), again.parameters(), strict=True))
        other = private.base(*given, self.SHORT.model_copy(update={"base_seed": 1}))
        assert not torch.equal(next(started.parameters()), next(other.parameters()))
