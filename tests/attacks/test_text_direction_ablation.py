"""Directions projected out: by hand, behind a planted direction, on refusal, and where there is nothing behind."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from auditor.attacks.direction_ablation import DirectionAblation, Settings, answers_without, directions, project_out
from auditor.inference.statistics import p_above, pooled_spread
from auditor.models.canonical import rescaled
from auditor.records.score import Score
from tests import made_records
from tests.people_worlds import N_REFERENCES, TextWorld
from tests.tiny_families import FAMILIES, tiny_family

REFERENCES = tuple(f"reference {i}" for i in range(N_REFERENCES))
SETTINGS = Settings(random_directions=40)


@given(seed=st.integers(0, 10**6), width=st.integers(2, 9))
def test_what_is_projected_out_is_gone_and_the_rest_stays(seed: int, width: int) -> None:
    random = np.random.default_rng(seed)
    states, direction = random.normal(size=(4, 3, width)), random.normal(size=width)
    direction /= np.linalg.norm(direction)
    given = [torch.tensor(x, dtype=torch.float32) for x in (states, direction)]
    found = project_out(*given).double().numpy()
    by_hand = states @ (np.eye(width) - np.outer(direction, direction))
    assert np.allclose(found, by_hand, atol=1e-5)
    assert np.allclose(found @ direction, 0, atol=1e-5)


def test_states_keep_their_type() -> None:
    states = torch.randn(2, 3, 4).to(torch.bfloat16)
    assert project_out(states, torch.tensor([1.0, 0, 0, 0])).dtype == torch.bfloat16


def test_directions_are_unit_differences_and_equal_states_have_none() -> None:
    originals = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([5.0, 5.0])}
    found = directions({"a": torch.tensor([4.0, 6.0]), "b": torch.tensor([5.0, 5.0])}, originals)
    assert set(found) == {"a"}
    assert found["a"].tolist() == pytest.approx([0.6, 0.8])


def scored(world: TextWorld, name: str, net: nn.Module | None = None, settings: Settings = SETTINGS) -> Score:
    check = DirectionAblation()
    artefact = check.prepare(world.subject("original"), world.data, settings, 0)
    return check.score(world.subject(name, net), artefact, world.data, settings, 0)


@pytest.fixture(scope="module")
def scores(text_world: TextWorld) -> dict[str, Score]:
    names = ("original", "retrain", "own initial weights", "refusal", *REFERENCES)
    return {name: scored(text_world, name) for name in names} | {
        "planted": scored(text_world, "planted", behind_one_direction(text_world))
    }


def behind_one_direction(world: TextWorld) -> nn.Module:
    """The original with one large coordinate added to its stream after the first block: all it knows lies behind it."""
    net = copy.deepcopy(world.modules["original"])
    vector = torch.zeros(48)
    vector[5] = 30.0
    net.get_submodule(world.layout.blocks[0]).mlp.down_proj.bias = nn.Parameter(vector)
    return net


def total(score: Score) -> float:
    return score.total(DirectionAblation().choose(score, []))


def p_value(scores: dict[str, Score], name: str) -> float:
    references = [total(scores[reference]) for reference in REFERENCES]
    spread = pooled_spread(references, floor=1 / scores[name].n_examples)
    assert spread is not None
    null = float(np.mean(references))
    return p_above(total(scores[name]) - null, total(scores["original"]) - null, spread, 0.25)


def p_alone(scores: dict[str, Score], name: str) -> float:
    return made_records.p_alone(scores[name], scores["original"], tuple(scores[name].readings), scores[name])


def test_it_fires_where_the_answers_lie_behind_one_direction(scores: dict[str, Score]) -> None:
    assert scores["planted"].controls["nothing projected out"] < 0.2
    assert total(scores["planted"]) > 0.6
    assert p_value(scores, "planted") < 0.05
    assert p_alone(scores, "planted") == 1 / 41


def test_it_fires_on_refusal_by_its_own_null(scores: dict[str, Score]) -> None:
    """Against three references of so small a world a third of the original's answers is not significant."""
    assert scores["refusal"].controls["nothing projected out"] < 0.1
    assert total(scores["refusal"]) > max(total(scores[name]) for name in ("retrain", *REFERENCES))
    assert p_alone(scores, "refusal") == 1 / 41


@pytest.mark.parametrize("name", ["retrain", "own initial weights", *REFERENCES])
def test_it_does_not_fire_where_nothing_lies_behind(scores: dict[str, Score], name: str) -> None:
    assert p_alone(scores, name) > 0.2
    if name not in REFERENCES:
        assert p_value(scores, name) > 0.2


def test_the_original_is_what_it_answers(scores: dict[str, Score], text_world: TextWorld) -> None:
    answers = text_world.subject("original").recording("forget_eval").probability
    assert total(scores["original"]) == pytest.approx(float(answers.mean()), abs=1e-6)
    assert {row["value"] for row in scores["original"].rows} == {total(scores["original"])}


def test_random_directions_leave_a_model_much_as_it_is(scores: dict[str, Score]) -> None:
    for score in scores.values():
        assert len(set(score.null)) > 0.9 * len(score.null)
        assert score.controls["mean of random directions"] == pytest.approx(np.mean(score.null))
        assert abs(np.mean(score.null) - score.controls["nothing projected out"]) < 0.1


def test_drawing_stops_when_twenty_random_directions_have_done_as_well(scores: dict[str, Score]) -> None:
    """Then p is above 0.02 whatever followed."""
    assert len(scores["refusal"].null) == 40
    stopped = [score for score in scores.values() if len(score.null) < 40]
    assert stopped
    for score in stopped:
        assert sum(draw >= total(score) for draw in score.null) == 20
        assert score.null[-1] >= total(score)


def test_the_first_block_is_chosen_on_the_attack_half(scores: dict[str, Score]) -> None:
    for score in scores.values():
        chosen = max(score.rows, key=lambda row: float(row["attack"] or 0))
        assert total(score) == chosen["value"]
        assert score.readings["best first block"].choice == chosen["attack"]


def test_units_of_another_size_score_the_same(text_world: TextWorld, scores: dict[str, Score]) -> None:
    pairs, net = text_world.layout.pairs, text_world.modules["refusal"]
    sizes = [net.get_submodule(pair.producer).weight.shape[0] for pair in pairs]
    evaded = rescaled(net, pairs, [2.0 ** (3 * torch.sin(torch.arange(size) * 2.4)) for size in sizes])
    assert total(scored(text_world, "evaded", evaded)) == pytest.approx(total(scores["refusal"]), abs=1e-3)


def test_the_same_seed_gives_the_same_score(text_world: TextWorld, scores: dict[str, Score]) -> None:
    again = scored(text_world, "refusal")
    assert again.model_dump_json() == scores["refusal"].model_dump_json()


def test_cost_is_as_stated(text_world: TextWorld) -> None:
    few = Settings(measured_facts=5, random_directions=7)
    check, subject = DirectionAblation(), text_world.subject("retrain")
    artefact = check.prepare(text_world.subject("original"), text_world.data, few, 0)
    subject.recording("forget_attack")
    recorded = subject.passes.examples
    score = check.score(subject, artefact, text_world.data, few, 0)
    spent = subject.passes.examples - recorded
    assert spent == 2 * (5 + 5) + 7 * 5 + 5
    assert score.n_examples == 5
    assert check.workload(text_world.data, few, 2).forward == spent


@pytest.mark.parametrize("name", FAMILIES)
def test_in_every_family_each_block_has_a_direction_that_can_be_taken_out(name: str) -> None:
    family = tiny_family(name)
    first, second = family.subject("original", 1), family.subject("other", 2)
    means = [{k: v.mean(0) for k, v in s.recording("forget_attack").features.items()} for s in (second, first)]
    out = directions(*means)
    assert set(out) == set(family.layout.blocks)
    facts = family.data.forget_eval
    changed = answers_without(second, out, facts)
    assert not torch.allclose(changed, second.log_probabilities(facts).exp(), atol=1e-4)
