"""Rounding a language model: against numpy on every layout, on unlearning that rounding undoes, and on other models."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from auditor.attacks.quantization.images import BETTER_WIDTH, round_to_nearest
from auditor.attacks.quantization.text import Quantization, Settings, quantized, rounded
from auditor.errors import UsageError
from auditor.inference.statistics import p_above, pooled_spread
from auditor.models.canonical import rescaled
from auditor.records.score import Score
from auditor.tasks.causal_lm.editing import endless, losses, probability
from tests.people_worlds import N_REFERENCES, TextWorld
from tests.tiny_families import FAMILIES, tiny_family

REFERENCES = tuple(f"reference {i}" for i in range(N_REFERENCES))
SETTINGS = Settings()
IN_THE_BOX = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj")


def by_numpy(matrix: np.ndarray, bits: int) -> np.ndarray:
    """Each row of [out, in] on its own grid."""
    step = np.abs(matrix).max(1, keepdims=True) / (2 ** (bits - 1) - 1)
    return np.rint(matrix / step) * step


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_rounding_equals_numpy_on_every_layout(bits: int) -> None:
    weight = np.random.default_rng(bits).normal(size=(3, 6, 5))
    experts = np.stack([by_numpy(expert, bits) for expert in weight])
    turned = np.stack([by_numpy(expert.T, bits).T for expert in weight])
    cases = [
        (weight[0], False, experts[0]),
        (weight[0], True, turned[0]),
        (weight, False, experts),
        (weight, True, turned),
    ]
    for given, inputs_first, expected in cases:
        found = rounded(torch.tensor(given, dtype=torch.float32), bits, inputs_first=inputs_first)
        assert np.allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_in_every_family_each_output_channel_of_the_blocks_has_a_grid_and_the_rest_stays(name: str) -> None:
    family = tiny_family(name)
    after = quantized(family.subject("original", 1), 4).module
    before = family.module(1).state_dict()
    for module_name, module in after.named_modules():
        for key, weight in module.named_parameters(recurse=False):
            full = f"{module_name}.{key}"
            if weight.ndim < 2 or not any(full.startswith(f"{block}.") for block in family.layout.blocks):
                assert torch.equal(weight, before[full]), full
                continue
            channels = (weight.T if isinstance(module, Conv1D) else weight).flatten(0, -2)
            assert max(len(row.detach().abs().unique()) for row in channels) <= 8, full
            assert not torch.equal(weight, before[full]), full


def test_bfloat16_weights_keep_their_type() -> None:
    family = tiny_family("llama")
    after = quantized(family.subject("original", 1, family.module(1).to(torch.bfloat16)), 8)
    assert {weight.dtype for weight in after.module.parameters()} == {torch.bfloat16}
    assert after.log_probabilities(family.data.forget_eval).isfinite().all()


@pytest.fixture(scope="module")
def planted(text_world: TextWorld) -> nn.Module:
    """Moved against the forget answers, but only where 4-bit rounding sends each weight back.

    As in Egashira et al. 2024 (arXiv 2405.18137), where such a box hides behaviour until a model is rounded.
    """
    net = text_world.subject("original").canonical().module
    boxes = [(w, *box(w.detach())) for name, w in net.named_parameters() if any(key in name for key in IN_THE_BOX)]
    optimizer = torch.optim.Adam([w for w, _, _ in boxes], lr=0.01)
    encoder, random = text_world.encoder, torch.Generator().manual_seed(0)
    kept = endless(text_world.data.retain, 32, random)
    forget = encoder.batch(text_world.data.forget.items)
    for _ in range(60):
        optimizer.zero_grad()
        said = (-losses(net, forget)).exp()
        (losses(net, encoder.batch(next(kept).items)).mean() - (1 - said).log().mean()).backward()
        optimizer.step()
        with torch.no_grad():
            for weight, low, high in boxes:
                weight.copy_(weight.clamp(low, high))
    return net.eval()


def box(start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Limits within which each weight is still rounded to where the start is; the largest, which set the step, stay."""
    step = start.abs().amax(1, keepdim=True) / 7
    largest = start.abs() > 6.999 * step
    middle = round_to_nearest(start, 4)
    sides = [(middle + side * step).clamp(-7 * step, 7 * step) for side in (-0.45, 0.45)]
    return torch.where(largest, start, sides[0]), torch.where(largest, start, sides[1])


def scored(world: TextWorld, name: str, net: nn.Module | None = None) -> Score:
    return Quantization().score(world.subject(name, net), None, world.data, SETTINGS, 0)


@pytest.fixture(scope="module")
def scores(text_world: TextWorld, planted: nn.Module) -> dict[str, Score]:
    names = ("original", "retrain", "own initial weights", "refusal", *REFERENCES)
    return {name: scored(text_world, name) for name in names} | {"planted": scored(text_world, "planted", planted)}


def total(score: Score) -> float:
    return score.total(Quantization().choose(score, []))


def p_value(scores: dict[str, Score], name: str) -> float:
    references = [total(scores[reference]) for reference in REFERENCES]
    spread = pooled_spread(references, floor=1 / scores[name].n_examples)
    assert spread is not None
    null = float(np.mean(references))
    return p_above(total(scores[name]) - null, total(scores["original"]) - null, spread, 0.25)


def at(score: Score, bits: int, split: str) -> float:
    return next(float(row["probability"]) for row in score.rows if (row["bits"], row["split"]) == (bits, split))


def test_it_fires_where_rounding_brings_the_answers_back(scores: dict[str, Score]) -> None:
    planted = scores["planted"]
    assert at(planted, 32, "forget_eval") < 0.1
    assert at(planted, 32, "retain") > 0.8
    assert at(planted, 4, "forget_eval") > 0.5
    assert p_value(scores, "planted") < 0.05


@pytest.mark.parametrize("name", ["retrain", "own initial weights", "refusal"])
def test_it_does_not_fire_where_rounding_brings_nothing_back(scores: dict[str, Score], name: str) -> None:
    """Refusal tuning too: its changes are larger than a step, and this check does not see it."""
    assert p_value(scores, name) > 0.2


def test_t_is_the_mean_at_the_better_width(scores: dict[str, Score]) -> None:
    for score in scores.values():
        assert list(score.readings) == [BETTER_WIDTH]
        assert total(score) == max(score.controls["T at 8 bits"], score.controls["T at 4 bits"])
        assert total(score) == pytest.approx(np.mean(score.readings[BETTER_WIDTH].examples))
        assert at(score, 4, "forget_eval") == score.controls["T at 4 bits"]


def test_t_is_the_answer_probability_of_the_rounded_network(scores: dict[str, Score], text_world: TextWorld) -> None:
    net = quantized(text_world.subject("retrain").canonical(), 4).module
    by_hand = probability(net, text_world.encoder, text_world.data.forget_eval)
    assert scores["retrain"].controls["T at 4 bits"] == pytest.approx(by_hand, abs=1e-6)


def test_units_of_another_size_score_the_same(text_world: TextWorld, scores: dict[str, Score]) -> None:
    pairs, net = text_world.layout.pairs, text_world.modules["retrain"]
    assert pairs
    sizes = [net.get_submodule(pair.producer).weight.shape[0] for pair in pairs]
    factors = [2.0 ** (3 * torch.sin(torch.arange(size) * 2.4)) for size in sizes]
    evaded = rescaled(copy.deepcopy(net), pairs, factors)
    again = scored(text_world, "evaded", evaded)
    for name, value in scores["retrain"].controls.items():
        assert again.controls[name] == pytest.approx(value, abs=1e-3)
    plain = [quantized(text_world.subject("retrain", n), 4) for n in (net, evaded)]
    first, second = (float(s.log_probabilities(text_world.data.forget_eval).exp().mean()) for s in plain)
    assert abs(first - second) > 1e-3, "without rescaling the evasion would work"


def test_cost_is_as_stated(text_world: TextWorld) -> None:
    subject = text_world.subject("retrain")
    for split in ("forget_eval", "retain", "holdout"):
        subject.recording(split)
    recorded = subject.passes.examples
    few = Settings(bits=(8, 5, 4), control_facts=7)
    Quantization().score(subject, None, text_world.data, few, 0)
    spent = subject.passes.examples - recorded
    assert spent == 3 * len(text_world.data.retain) + 3 * (len(text_world.data.forget_eval) + 2 * 7)
    assert spent == Quantization().workload(text_world.data, few, 2).forward


def test_the_subject_is_left_as_it_was(text_world: TextWorld) -> None:
    subject = text_world.subject("retrain")
    before = {name: tensor.clone() for name, tensor in subject.module.state_dict().items()}
    Quantization().score(subject, None, text_world.data, SETTINGS, 0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.module.state_dict().items())


def test_blocks_without_matrices_are_named(text_world: TextWorld) -> None:
    subject = text_world.subject("odd", text_world.modules["original"])
    for block in subject.layers():
        parent, _, name = block.rpartition(".")
        setattr(subject.module.get_submodule(parent), name, nn.LayerNorm(4))
    with pytest.raises(UsageError, match="blocks of the odd model hold no matrix to quantise"):
        quantized(subject, 4)
