"""Relearning of language models: what it must not be deaf to."""

import copy

import pytest
import torch
from torch import nn

from auditor import registry
from auditor.attacks.reach import WIDEST, deaf, odd_scale, scales
from auditor.scores import Reading, Score
from auditor.subjects.canonical import HomogeneousPair
from tests.people_worlds import TextWorld

SOME = {"rates": (1e-3,), "measured": (1,), "arm_measured": (1,), "batch": 4}
CHECK = registry.load("relearning", "causal-lm")
LESSON = "taught facts after the attack"


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
    blind = scored(text_world, evading).blind
    assert blind is not None
    assert "times the original's scale" in blind


@pytest.mark.parametrize("name", ["retrain", "own initial weights", "reference 0", "refusal"])
def test_models_as_they_are_trained_are_at_one_scale(text_world: TextWorld, name: str) -> None:
    assert scored(text_world, text_world.modules[name]).blind is None


def test_the_stated_workload_is_what_it_costs(text_world: TextWorld) -> None:
    settings, subject = CHECK.settings_type.model_validate(SOME), text_world.subject("retrain")
    CHECK.score(subject, {}, text_world.data, settings, 0)
    stated, canonical = CHECK.workload(text_world.data, settings), 2 * subject.batch_size
    # The arm on other subjects measures a half of what is stated for it.
    assert subject.passes.examples == pytest.approx(stated.forward + stated.training + canonical, rel=0.1)


def test_the_scale_is_held_against_the_originals() -> None:
    norm = nn.Sequential(nn.Linear(4, 4, bias=False), nn.LayerNorm(4))
    before = scales(norm, matrices=True)
    assert set(before) == {"0.weight", "1.weight"}
    assert set(scales(norm, matrices=False)) == {"1.weight"}
    assert set(scales(norm, matrices=True, paired=[HomogeneousPair("0", "2", 1)])) == {"1.weight"}
    assert odd_scale({**before, "1.weight": WIDEST * before["1.weight"]}, before) is None
    wide = odd_scale({**before, "1.weight": 3 * before["1.weight"]}, before)
    assert wide is not None
    assert wide.startswith("1.weight stands at 3 times the original's scale")
    assert odd_scale({"1.weight": before["1.weight"] / 3}, before) is not None
    assert odd_scale({}, before) is None


def lesson(value: float) -> Score:
    return Score(check="c", readings={"r": Reading(value=0.0)}, n_examples=1, controls={LESSON: value})


def test_an_attack_that_did_not_take_says_nothing() -> None:
    references = [lesson(0.8), lesson(0.9)]
    assert deaf(lesson(0.61), references, LESSON) is None
    words = "the attack did not take: on what it trained it reached 0.59, in every reference 0.80 or more"
    assert deaf(lesson(0.59), references, LESSON) == words
    assert deaf(lesson(0.1), [lesson(0.4), *references], LESSON) is None, "too short an attack tells nothing"
    assert deaf(lesson(0.1), [], LESSON) is None
    settled = CHECK.settle(lesson(1.0), references)
    assert settled(lesson(0.59)).blind == words
    assert settled(lesson(0.9)).blind is None
