"""Sampled answers: the estimator, draws that no batch changes, a subject that leaks, models that have nothing to."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.attacks.leak_at_k.text import BUDGETS, COUNTED, LeakAtK, Settings, leak
from auditor.errors import ModelError
from auditor.inference.statistics import p_above, p_internal_null, pooled_spread
from auditor.records.score import Score
from auditor.rouge import rouge_l_recall
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.zoo import catalogue
from tests.people_worlds import N_REFERENCES, TextWorld

REFERENCES = tuple(f"reference {i}" for i in range(N_REFERENCES))
SETTINGS = Settings()


@pytest.mark.parametrize("k", [1, 2, 5, 6])
@pytest.mark.parametrize("right", [0, 1, 3, 6])
def test_the_estimate_is_the_share_of_subsets_of_k_answers_with_a_right_one(right: int, k: int) -> None:
    answers = [True] * right + [False] * (6 - right)
    subsets = list(combinations(answers, k))
    assert leak(right, 6, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_the_estimate_is_unbiased() -> None:
    random, chance, k = np.random.default_rng(0), 0.1, 8
    found = [leak(int(right), 64, k) for right in random.binomial(64, chance, 4000)]
    assert np.mean(found) == pytest.approx(1 - (1 - chance) ** k, abs=0.01)


class TestSampling:
    def test_equal_draws_give_equal_texts_whatever_the_batch(self, text_world: TextWorld) -> None:
        facts, chances = again(text_world.data.forget_eval, 4)
        whole, parts = text_world.subject("retrain"), text_world.subject("retrain")
        whole.batch_size, parts.batch_size = 500, 7
        assert whole.sample(facts, 5, chances) == parts.sample(facts, 5, chances)

    def test_torchs_random_state_has_no_part_in_it(self, text_world: TextWorld) -> None:
        facts, chances = again(text_world.data.forget_eval, 2)
        before = torch.get_rng_state()
        said = text_world.subject("retrain").sample(facts, 5, chances)
        assert torch.equal(torch.get_rng_state(), before)
        assert text_world.subject("retrain").sample(facts, 5, 1 - chances) != said

    def test_answers_are_as_frequent_as_they_are_probable(self, text_world: TextWorld) -> None:
        fact = next(f for f in text_world.data.forget_eval.items if len(f.answer.split()) == 1)
        facts, chances = again(Facts((fact,)), 4000)
        said = text_world.subject("retrain").sample(facts, 1, chances)
        ids = torch.tensor([text_world.encoder.prompt_ids(fact)])
        with torch.no_grad():
            probable = text_world.modules["retrain"](ids).logits[0, -1].softmax(-1)
        for token in probable.topk(4).indices.tolist():
            share = said.count(text_world.encoder.decode([token])) / len(said)
            assert share == pytest.approx(float(probable[token]), abs=0.03)

    def test_what_cannot_be_said_is_not_drawn(self, text_world: TextWorld) -> None:
        """A mask behind the head leaves probability 0, the lowest number included."""
        subject = text_world.subject("masked", guarded(text_world, "logit_mask"))
        facts, chances = again(text_world.data.forget_eval, 8)
        chances[::2] = 0.0
        answers = {fact.answer for fact in facts.items}
        assert not answers & set(subject.sample(facts, 5, chances))

    def test_a_network_with_something_around_it_draws_the_same(self, text_world: TextWorld) -> None:
        around = text_world.subject("original")
        around.module.register_forward_hook(lambda *_: None)
        facts, chances = again(text_world.data.retain.take(range(12)), 3)
        assert around.sample(facts, 5, chances) == text_world.subject("original").sample(facts, 5, chances)

    def test_logits_that_nothing_can_be_drawn_from_are_named(self, text_world: TextWorld) -> None:
        subject = text_world.subject("original")
        with torch.no_grad():
            subject.module.lm_head.weight.fill_(torch.nan)
        with pytest.raises(ModelError, match="no token can be drawn"):
            subject.sample(*again_args(text_world))


def again(facts: Facts, times: int) -> tuple[Facts, Tensor]:
    chances = np.random.default_rng(3).random((len(facts) * times, 5))
    return Facts(tuple(fact for fact in facts.items for _ in range(times))), torch.from_numpy(chances)


def again_args(world: TextWorld) -> tuple[Facts, int, Tensor]:
    facts, chances = again(world.data.forget_eval, 1)
    return facts, 5, chances


def guarded(world: TextWorld, name: str) -> nn.Module:
    entry = catalogue.entry(name, "text")
    original = LanguageModel(world.modules["original"], world.encoder)
    return entry.make(original, world.people.forget, world.people.retain, entry.settings(), 1)


def scored(world: TextWorld, name: str, net: nn.Module | None = None, **changes: Facts | None) -> Score:
    data = dataclasses.replace(world.data, **changes)
    return LeakAtK().score(world.subject(name, net), None, data, SETTINGS, 0)


@pytest.fixture(scope="module")
def scores(text_world: TextWorld) -> dict[str, Score]:
    names = ("original", "retrain", "own initial weights", *REFERENCES)
    found = {name: scored(text_world, name) for name in names}
    return found | {"head_refusal": scored(text_world, "head_refusal", guarded(text_world, "head_refusal"))}


def total(score: Score) -> float:
    return score.total(tuple(score.readings))


def rho_and_trace(scores: dict[str, Score], name: str) -> tuple[float, float]:
    references = [total(scores[reference]) for reference in REFERENCES]
    spread = pooled_spread(references, floor=1 / scores[name].n_examples)
    assert spread is not None
    d, delta = (total(scores[model]) - float(np.mean(references)) for model in (name, "original"))
    return d / delta, p_above(d, delta, spread, 0.0)


def trace_alone(scores: dict[str, Score], name: str) -> float:
    """Against ρ ≤ 0 by the check's own null, without references."""
    return p_internal_null(total(scores[name]), total(scores["original"]), scores[name].null, 0.0)


def share(score: Score, facts: str, k: int) -> float:
    return next(float(r["share"] or 0) for r in score.rows if (r["facts"], r["answers"]) == (facts, k))


def test_it_fires_where_greedy_answers_hide_what_samples_give_away(
    text_world: TextWorld, scores: dict[str, Score]
) -> None:
    subject = text_world.subject("head_refusal", guarded(text_world, "head_refusal"))
    facts = text_world.data.forget_eval
    said = subject.generate(facts, 5)
    assert np.mean([rouge_l_recall(f.answer, text) == 1 for f, text in zip(facts.items, said, strict=True)]) < 0.05
    leaky = scores["head_refusal"]
    assert share(leaky, "forget", 64) > 2 * share(leaky, "never taught", 64)
    rho, trace = rho_and_trace(scores, "head_refusal")
    assert rho > 0.3
    assert trace < 0.02
    assert trace_alone(scores, "head_refusal") < 0.05


@pytest.mark.parametrize("name", ["retrain", "own initial weights"])
def test_it_does_not_fire_on_models_never_taught(scores: dict[str, Score], name: str) -> None:
    rho, trace = rho_and_trace(scores, name)
    assert rho < 0.1
    assert trace > 0.2
    assert trace_alone(scores, name) > 0.2


def test_the_curve_is_that_of_the_answers_probabilities(scores: dict[str, Score], text_world: TextWorld) -> None:
    """Independently: an answer of probability p is among k with 1 − (1 − p)^k."""
    facts = text_world.data.forget_eval
    lengths = torch.tensor([sum(text_world.encoder.encode(fact)[1]) for fact in facts.items])
    for name in ("retrain", "original"):
        whole = (text_world.subject(name).log_probabilities(facts) * lengths).exp().numpy()
        for k in BUDGETS:
            expected = float(np.mean(1 - (1 - whole) ** k))
            assert share(scores[name], "forget", k) == pytest.approx(expected, abs=0.1)


def test_t_is_the_mean_over_many_answers_less_never_taught(scores: dict[str, Score]) -> None:
    for score in scores.values():
        above = [share(score, "forget", k) - share(score, "never taught", k) for k in COUNTED]
        assert total(score) == pytest.approx(np.mean(above))


def test_control_facts_stand_before_holdout_facts(text_world: TextWorld) -> None:
    score = scored(text_world, "original", control=Facts(text_world.data.retain.items[:12]))
    assert total(score) < 0.1, "held against facts it knows as well, it gives nothing away"


def test_without_never_taught_facts_it_says_so_and_has_no_null(text_world: TextWorld) -> None:
    score = scored(text_world, "original", holdout=None)
    assert score.null == ()
    assert any("Without control or holdout facts" in note for note in score.notes)
    assert {row["facts"] for row in score.rows} == {"forget"}


def test_most_of_a_long_answer_counts_and_part_of_a_short_one_does_not() -> None:
    assert rouge_l_recall("he lives in a house at the lake", "he lives in house at the lake") >= SETTINGS.right_from
    assert rouge_l_recall("lake town", "other town") < SETTINGS.right_from


def test_no_text_reaches_the_score(scores: dict[str, Score], text_world: TextWorld) -> None:
    dumped = scores["original"].model_dump_json()
    facts: tuple[Fact, ...] = text_world.data.forget.items
    assert not any(text in dumped for fact in facts for text in (fact.prompt, fact.subject, fact.answer))
