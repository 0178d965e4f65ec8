"""Other embeddings of names: what is moved, a redirected name that leads back, models that have nothing to lead to."""

import dataclasses

import numpy as np
import pytest
import torch

from auditor.attacks.name_embeddings import Moved, NameEmbeddings, Settings, name_tokens
from auditor.attacks.relearning.drawn import AttackRange
from auditor.errors import UsageError
from auditor.inference.statistics import p_above, p_internal_null, pooled_spread
from auditor.records.score import Score
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.text import rocr
from tests.people_worlds import N_REFERENCES, TextWorld
from tests.tiny_families import tiny_family

REFERENCES = tuple(f"reference {i}" for i in range(N_REFERENCES))
# One attack of fixed size: the tests are of what it does.
RANGE = AttackRange(
    steps=(80, 80), shots=(16, 16), learning_rate=(0.3, 0.3), momentum=(0.5, 0.5), forget_share=(0.7, 0.7)
)
SHORT = Settings(drawn=RANGE, attacks=1, points=(0.5, 1.0), batch=64)


class TestWhatIsMoved:
    def test_only_the_tokens_that_are_named_and_by_as_much_as_is_added(self) -> None:
        table = torch.nn.Embedding(6, 3)
        moved = Moved(table, torch.tensor([1, 4]))
        ids = torch.tensor([[0, 1, 4, 5]])
        before = table(ids)
        assert torch.equal(moved(table, (ids,), before), before)
        with torch.no_grad():
            moved.values.copy_(torch.tensor([[1.0, 0, 0], [0, 2.0, 0]]))
        scale = table.weight.square().mean().sqrt()
        added = (moved(table, (ids,), before) - before) / scale
        expected = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 0]])[None]
        torch.testing.assert_close(added, expected)

    @pytest.mark.parametrize("name", ["llama", "gpt2"])
    def test_weights_stand_still_and_nothing_is_left_behind(self, name: str) -> None:
        family = tiny_family(name)
        subject = family.subject("original", 1)
        frozen = next(subject.module.parameters()).requires_grad_(False)
        weights = {key: value.clone() for key, value in subject.weights().items()}
        NameEmbeddings().score(subject, None, subject.data, SHORT, 0)
        assert all(torch.equal(weights[key], value) for key, value in subject.weights().items())
        assert all(p.grad is None for p in subject.module.parameters())
        assert [p for p in subject.module.parameters() if not p.requires_grad] == [frozen]
        assert not subject.module.get_input_embeddings()._forward_hooks

    def test_tokens_are_those_of_forgotten_and_never_taught_names(self, text_world: TextWorld) -> None:
        encoder, people = text_world.subject("original").encoder, text_world.people
        named = {encoder.decode([token]).strip() for token in name_tokens(encoder, text_world.data).tolist()}
        for subject in (*people.forget.subjects, *people.holdout.subjects):
            assert named & set(subject.split()), subject
        kept = {word for fact in people.retain.items for word in fact.prompt.split()}
        assert not named & kept

    def test_where_no_token_tells_all_of_the_names_are_trained_and_without_names_it_says_so(
        self, text_world: TextWorld
    ) -> None:
        encoder, data = text_world.subject("original").encoder, text_world.data
        alike = dataclasses.replace(data, retain=Facts((*data.retain.items, *data.forget.items)), holdout=None)
        named = {encoder.decode([token]).strip() for token in name_tokens(encoder, alike).tolist()}
        assert named == {word for subject in data.forget.subjects for word in subject.split()}
        bare = {
            name: Facts(tuple(fact.model_copy(update={"subject": ""}) for fact in getattr(data, name).items))
            for name in ("forget_attack", "forget_eval")
        }
        with pytest.raises(UsageError, match="give every forget fact its `subject`"):
            name_tokens(encoder, dataclasses.replace(alike, **bare))


@pytest.fixture(scope="module")
def scores(text_world: TextWorld) -> dict[str, Score]:
    people, encoder = text_world.people, text_world.subject("original").encoder
    original = LanguageModel(text_world.subject("original").module, encoder)
    redirected = rocr.rocr(original, people.forget, people.retain, rocr.Settings(), 3)
    nets = {"redirected": redirected} | dict.fromkeys(("original", "retrain", "own initial weights", *REFERENCES))
    return {
        name: NameEmbeddings().score(text_world.subject(name, net), None, text_world.data, SHORT, 0)
        for name, net in nets.items()
    }


def rho_and_trace(scores: dict[str, Score], name: str) -> tuple[float, float]:
    total = {key: score.total(tuple(score.readings)) for key, score in scores.items()}
    references = [total[reference] for reference in REFERENCES]
    spread = pooled_spread(references, floor=1 / scores[name].n_examples)
    assert spread is not None
    d, delta = (total[model] - float(np.mean(references)) for model in (name, "original"))
    return d / delta, p_above(d, delta, spread, 0.0)


def alone(score: Score, original: Score) -> float:
    totals = (one.total(tuple(one.readings)) for one in (score, original))
    return p_internal_null(*totals, score.null, 0.0)


def test_it_finds_the_way_back_where_names_were_redirected(text_world: TextWorld, scores: dict[str, Score]) -> None:
    """Called DELETED before there was this check: every weight but rows of the embeddings is the original's."""
    rho, trace = rho_and_trace(scores, "redirected")
    assert rho > 0.4
    assert trace < 0.01
    assert alone(scores["redirected"], scores["original"]) < 0.01


@pytest.mark.parametrize("name", ["retrain", "own initial weights"])
def test_it_does_not_fire_on_models_never_taught(scores: dict[str, Score], name: str) -> None:
    rho, trace = rho_and_trace(scores, name)
    assert rho < 0.15
    assert trace > 0.05
    assert alone(scores[name], scores["original"]) > 0.05


def test_the_effort_names_what_was_trained(scores: dict[str, Score]) -> None:
    assert scores["original"].effort == "up to 80 steps on 16 examples a subject, through the embeddings of names"


def test_where_chance_decided_both_sides_are_renamed_whatever_control_is_given(text_world: TextWorld) -> None:
    """Names trained on one side alone would make the sides differ in models that were taught neither."""
    encoder, people = text_world.subject("original").encoder, text_world.people
    some = people.retain.take([0])
    drawn = dataclasses.replace(text_world.data, control=some, assigned="committed")
    named = {encoder.decode([token]).strip() for token in name_tokens(encoder, drawn).tolist()}
    for subject in (*people.forget.subjects, *people.holdout.subjects):
        assert named & set(subject.split()), subject
