"""Relearning of language models: what it must not be deaf to, and what only a patient attacker sees."""

import copy

import pytest
import torch
from torch import nn

from auditor.attacks.relearning.attack_validity import taught, taught_name
from auditor.checks import registry
from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores
from auditor.records.evidence import Evidence
from auditor.records.policy import load_policy
from auditor.records.score import Reading, Score
from tests.made_records import NULLS
from tests.people_worlds import N_REFERENCES, TextWorld

DRAWN = {"steps": (2, 2), "shots": (2, 2), "learning_rate": (1e-3, 1e-3), "forget_share": (0.2, 0.2)}
SOME = {"drawn": DRAWN, "attacks": 1, "points": (1.0,), "batch": 4, "retain_batch": 4}
CHECK = registry.load("relearning", "causal-lm")
SLOW = registry.load("slow_relearning", "causal-lm")
POLICY = load_policy("default")
REFERENCES = tuple(f"reference {i}" for i in range(N_REFERENCES))


def with_gains(module: nn.Module, factor: float) -> nn.Module:
    """The same function: every gain times the factor, every map that reads it divided by it."""
    net = copy.deepcopy(module)
    with torch.no_grad():
        for block in net.model.layers:
            attention, mlp = block.self_attn, block.mlp
            block.input_layernorm.weight.mul_(factor)
            block.post_attention_layernorm.weight.mul_(factor)
            for reads in (attention.q_proj, attention.k_proj, attention.v_proj, mlp.gate_proj, mlp.up_proj):
                reads.weight.div_(factor)
        net.model.norm.weight.mul_(factor)
        net.lm_head.weight = nn.Parameter(net.lm_head.weight / factor)
    return net


def scored(world: TextWorld, module: nn.Module) -> Score:
    settings = CHECK.settings_type.model_validate(SOME)
    artefact = CHECK.prepare(world.subject("original"), world.data, settings, 0)
    return CHECK.score(world.subject("subject", module), artefact, world.data, settings, 0)


@pytest.mark.parametrize("factor", [64.0, 1 / 64])
def test_weights_at_another_scale_leave_it_blind(text_world: TextWorld, factor: float) -> None:
    original = text_world.modules["original"]
    evading = with_gains(original, factor)
    ids = text_world.encoder.batch(text_world.people.retain.items[:4]).ids
    assert torch.allclose(evading(ids).logits, original(ids).logits, atol=1e-4), "the same function"
    blind = scored(text_world, evading).cannot_clear_because
    assert blind is not None
    assert "times the original's scale" in blind


@pytest.mark.parametrize("name", ["retrain", "own initial weights", "reference 0", "refusal"])
def test_models_as_they_are_trained_are_at_one_scale(text_world: TextWorld, name: str) -> None:
    assert scored(text_world, text_world.modules[name]).cannot_clear_because is None


def test_the_stated_workload_is_what_it_costs(text_world: TextWorld) -> None:
    settings, subject = CHECK.settings_type.model_validate(SOME), text_world.subject("retrain")
    CHECK.score(subject, {}, text_world.data, settings, 0)
    stated = CHECK.workload(text_world.data, settings, 2)
    # The arm on other subjects measures a half of what is stated for it.
    assert subject.passes.examples == pytest.approx(stated.forward + stated.training, rel=0.1)


def taught_score(probability: float) -> Score:
    controls = {taught_name("same subjects"): taught([probability], 100)}
    return Score(check="c", readings={"r": Reading(value=0.0)}, n_examples=100, controls=controls)


def test_a_model_that_learns_the_attack_facts_unlike_the_references_is_blind() -> None:
    """No lower bar: a short attack that leaves the references at .2 tells as much as one that brings them to .9."""
    # Beside references that learn nearly all of it, nothing can stand out upwards.
    for probabilities, unlikes in (((0.86, 0.87, 0.88, 0.87), (0.01,)), ((0.18, 0.2, 0.21, 0.22), (0.01, 0.99))):
        rescale = CHECK.rescale(taught_score(1.0), [taught_score(p) for p in probabilities])
        assert rescale(taught_score(probabilities[0])).cannot_clear_because is None
        for unlike in unlikes:
            blind = rescale(taught_score(unlike)).cannot_clear_because
            assert blind is not None
            assert blind.startswith("the attack did not take as it does in the references")
    assert CHECK.rescale(taught_score(1.0), [])(taught_score(0.01)).cannot_clear_because is None


def test_what_was_drawn_is_recorded(text_world: TextWorld) -> None:
    score = scored(text_world, text_world.modules["retrain"])
    assert {row["arm"] for row in score.rows} == {
        *("same subjects", "low rank", "other subjects", "retain alone", "never-taught facts"),
    }
    assert {row["steps"] for row in score.rows if row["arm"] == "same subjects"} == {2}
    assert score.effort == "up to 2 steps on 2 examples a subject"


@pytest.fixture(scope="module")
def slow_scores(text_world: TextWorld) -> dict[str, Score]:
    names = ("original", "retrain", "refusal", *REFERENCES)
    settings = SLOW.settings_type()
    return {name: SLOW.score(text_world.subject(name), {}, text_world.data, settings, 0) for name in names}


def slow_evidence(scores: dict[str, Score], name: str) -> Evidence:
    lineup = CheckScores(
        original=scores["original"],
        unlearned=scores[name],
        references={reference: scores[reference] for reference in REFERENCES},
        drawn={},
        perturbed={},
        decoys={},
    )
    return combine(SLOW, lineup, POLICY, NULLS, population=False)


def test_the_slow_arm_fires_on_a_refusing_model_and_not_on_a_retrain(slow_scores: dict[str, Score]) -> None:
    refusal, retrain = (slow_evidence(slow_scores, name) for name in ("refusal", "retrain"))
    assert refusal.p_value is not None
    assert refusal.p_value < 0.01
    assert retrain.p_value is not None
    assert retrain.p_value > 0.2


def test_the_budget_has_four_efforts_in_and_out_of_domain(slow_scores: dict[str, Score]) -> None:
    rows = slow_evidence(slow_scores, "refusal").rows
    efforts = {(row["domain"], row["effort"]) for row in rows if row.get("figure") == "budget"}
    for domain in ("in domain", "out of domain"):
        assert sum(found == domain for found, _ in efforts) >= 4, domain
