"""Rounding weights: against numpy, on unlearning that rounding undoes, and on models with nothing to undo."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from auditor.attacks.quantization.images import (
    BETTER_WIDTH,
    Quantization,
    QuantizationSettings,
    quantized,
    round_to_nearest,
)
from auditor.checks.check import Workload
from auditor.errors import UsageError
from auditor.inference.statistics import p_above, pooled_spread
from auditor.models.canonical import rescaled
from auditor.records.score import Score
from auditor.tasks.classification.subject import Classifier
from tests.probes.test_cka import permuted, unit_factors
from tests.worlds import FORGET, World

REFERENCES = ("reference 0", "reference 1", "reference 2")
NEVER_TAUGHT = ("retrain", *REFERENCES)
SETTINGS = QuantizationSettings()


@given(
    seed=st.integers(0, 10**6),
    bits=st.integers(2, 8),
    shape=st.sampled_from([(3, 7), (4, 2, 3, 3), (2, 5, 3)]),
)
def test_rounding_equals_numpy(seed: int, bits: int, shape: tuple[int, ...]) -> None:
    weight = np.random.default_rng(seed).normal(size=shape)
    expected = np.empty_like(weight)
    for channel, values in enumerate(weight):
        step = np.abs(values).max() / (2 ** (bits - 1) - 1)
        expected[channel] = np.rint(values / step) * step
    assert np.allclose(round_to_nearest(torch.from_numpy(weight), bits).numpy(), expected, atol=1e-12)


def test_each_channel_has_its_own_step_and_zeros_stay() -> None:
    weight = torch.tensor([[7.0, 3.4, -0.6], [0.07, 0.034, -0.006], [0.0, 0.0, 0.0]])
    expected = torch.tensor([[7.0, 3.0, -1.0], [0.07, 0.03, -0.01], [0.0, 0.0, 0.0]])
    assert torch.allclose(round_to_nearest(weight, 4), expected)


def test_all_linear_and_convolution_weights_are_rounded_and_nothing_else(world: World) -> None:
    subject = world.subject("original")
    before = subject.module.state_dict()
    after = quantized(subject, 4).module.state_dict()
    for name, tensor in before.items():
        if name.endswith("bias"):
            assert torch.equal(after[name], tensor)
        else:
            assert max(len(row.unique()) for row in after[name].flatten(1)) <= 15
            assert not torch.equal(after[name], tensor)
    assert torch.equal(world.modules["original"].head.weight, before["head.weight"])


@pytest.fixture(scope="module")
def planted(world: World) -> nn.Module:
    """First hidden weights moved against the forget class, but only where 4-bit rounding sends each back.

    As in Egashira et al. 2024 (arXiv 2405.18137), where such a box hides behaviour until a model is rounded.
    """
    net = world.subject("original").canonical().module
    weight, start = net.hidden[0].weight, net.hidden[0].weight.detach().clone()
    step = start.abs().amax(1, keepdim=True) / 7
    largest = start.abs() > 6.999 * step
    middle = round_to_nearest(start, 4)
    # The largest weight sets the step, so it stays and no other may pass it.
    box = [(middle + side * step).clamp(-7 * step, 7 * step) for side in (-0.45, 0.45)]
    low, high = (torch.where(largest, start, bound) for bound in box)
    retain, forget = world.data.retain, world.data.forget_attack
    optimiser = torch.optim.Adam([weight], lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        known = nn.functional.softmax(net(forget.inputs), 1)[:, FORGET]
        (nn.functional.cross_entropy(net(retain.inputs), retain.labels) - (1 - known).log().mean()).backward()
        optimiser.step()
        with torch.no_grad():
            weight.copy_(weight.clamp(low, high))
    return net.eval()


def scored(world: World, subject: Classifier) -> Score:
    return Quantization().score(subject, None, world.data, SETTINGS, 0)


@pytest.fixture(scope="module")
def scores(world: World, planted: nn.Module) -> dict[str, Score]:
    names = ("original", "head_row_zeroed", "retrain", *REFERENCES)
    measured = {name: scored(world, world.subject(name)) for name in names}
    return {**measured, "planted": scored(world, world.subject("planted", planted))}


def total(score: Score) -> float:
    return score.total(Quantization().choose(score, []))


def p_value(scores: dict[str, Score], name: str, against: tuple[str, ...] = REFERENCES) -> float:
    references = [total(scores[reference]) for reference in against]
    spread = pooled_spread(references, floor=1 / scores[name].n_examples)
    assert spread is not None
    null = float(np.mean(references))
    return p_above(total(scores[name]) - null, total(scores["original"]) - null, spread, 0.25)


def cell(score: Score, bits: int, split: str) -> dict[str, object]:
    return next(row for row in score.rows if (row["bits"], row["split"]) == (bits, split))


def test_the_plant_is_undone_by_four_bits_in_the_layer_it_lives_in(world: World, planted: nn.Module) -> None:
    original, hiding = (
        subject.canonical().module.hidden[0].weight.detach()
        for subject in (world.subject("original"), world.subject("planted", planted))
    )
    sizes = (weight.abs().amax(1, keepdim=True) for weight in (original, hiding))
    first, second = (round_to_nearest(w / size, 4) for w, size in zip((original, hiding), sizes, strict=True))
    assert torch.allclose(first, second, atol=1e-5)
    assert not torch.allclose(original, hiding, rtol=0.05)


def test_it_fires_where_rounding_brings_the_class_back(scores: dict[str, Score]) -> None:
    planted = scores["planted"]
    assert cell(planted, 32, "forget_eval")["accuracy"] == 0.0
    assert cell(planted, 32, "retain")["accuracy"] > 0.99
    assert cell(planted, 4, "forget_eval")["accuracy"] > 0.5
    assert p_value(scores, "planted") < 0.05


@pytest.mark.parametrize("name", ["retrain", "head_row_zeroed"])
def test_it_does_not_fire_where_rounding_brings_nothing_back(scores: dict[str, Score], name: str) -> None:
    assert p_value(scores, name) > 0.2


@pytest.mark.parametrize("name", NEVER_TAUGHT)
def test_the_better_width_accuses_no_model_that_never_saw_the_class(scores: dict[str, Score], name: str) -> None:
    assert p_value(scores, name, against=tuple(other for other in NEVER_TAUGHT if other != name)) > 0.2


def test_what_returns_at_four_bits_is_not_diluted_by_eight(scores: dict[str, Score]) -> None:
    planted = scores["planted"]
    assert planted.controls["T at 8 bits"] < 0.05
    assert total(planted) == planted.controls["T at 4 bits"]
    assert total(planted) > 0.5


def test_t_is_that_of_the_better_width(scores: dict[str, Score]) -> None:
    for score in scores.values():
        assert list(score.readings) == [BETTER_WIDTH]
        assert total(score) == max(score.controls["T at 8 bits"], score.controls["T at 4 bits"])
        examples = score.readings[BETTER_WIDTH].examples
        assert len(examples) == score.n_examples
        assert np.mean(examples) == pytest.approx(total(score))


def test_reading_is_probability_less_false_alarms(world: World, scores: dict[str, Score]) -> None:
    rounded = quantized(world.subject("original").canonical(), 4)
    known, alarms = (
        float(rounded.logits(examples).double().softmax(1)[:, FORGET].mean())
        for examples in (world.data.forget_eval, world.data.retain)
    )
    exact = QuantizationSettings(control_examples=len(world.data.retain))
    score = Quantization().score(world.subject("original"), None, world.data, exact, 0)
    assert score.controls["T at 4 bits"] == pytest.approx(known - alarms, abs=1e-6)
    assert score.controls["retain accuracy at 4 bits"] == cell(score, 4, "retain")["accuracy"]
    assert score.controls["retain accuracy at 4 bits"] > 0.95


def test_a_model_that_always_names_the_class_scores_nothing(world: World) -> None:
    net = copy.deepcopy(world.modules["retrain"])
    with torch.no_grad():
        net.head.bias[FORGET] = 100.0
    score = scored(world, world.subject("blind", net))
    assert cell(score, 4, "forget_eval")["accuracy"] == 1.0
    assert total(score) == pytest.approx(0.0, abs=1e-6)


def test_listed_samples_have_no_false_alarms(world: World) -> None:
    data = dataclasses.replace(world.data, request="sample", classes=())
    score = Quantization().score(world.subject("original"), None, data, SETTINGS, 0)
    assert score.controls["T at 8 bits"] == pytest.approx(cell(score, 8, "forget_eval")["probability"])


@pytest.mark.parametrize("evasion", ["3", "-3", "permuted"])
def test_a_model_of_the_same_function_scores_the_same(
    world: World, planted: nn.Module, scores: dict[str, Score], evasion: str
) -> None:
    net = permuted(planted) if evasion == "permuted" else _rescaled(world, planted, float(evasion))
    evaded = scored(world, world.subject("evaded", net))
    for name in (f"T at {bits} bits" for bits in SETTINGS.bits):
        assert evaded.controls[name] == pytest.approx(scores["planted"].controls[name], abs=1e-3)


def test_without_rescaling_the_evasion_would_work(world: World, planted: nn.Module) -> None:
    plain, evaded = world.subject("planted", planted), world.subject("evaded", _rescaled(world, planted, 3.0))
    known = [_known(quantized(subject, 4), world) for subject in (plain, evaded)]
    assert abs(known[0] - known[1]) > 0.01


def _rescaled(world: World, net: nn.Module, exponent: float) -> nn.Module:
    return rescaled(net, world.layout.pairs, unit_factors(world, exponent))


def _known(subject: Classifier, world: World) -> float:
    probabilities: Tensor = subject.logits(world.data.forget_eval).softmax(1)[:, FORGET]
    return float(probabilities.mean())


def test_cost_is_as_stated(world: World) -> None:
    subject = world.subject("retrain")
    for split in ("forget_eval", "retain"):
        subject.recording(split)
    recorded = subject.passes.examples
    few = QuantizationSettings(bits=(8, 5, 4), control_examples=100)
    Quantization().score(subject, None, world.data, few, 0)
    spent = subject.passes.examples - recorded
    assert spent == 3 * 512 + 3 * (len(world.data.forget_eval) + 100)
    assert Quantization().workload(world.data, few, 6) == Workload(forward=spent)


def test_workload_counts_no_more_retain_examples_than_there_are(world: World) -> None:
    data = dataclasses.replace(world.data, retain=world.data.retain.take(torch.arange(50)))
    subject = dataclasses.replace(world, data=data).subject("retrain")
    for split in ("forget_eval", "retain"):
        subject.recording(split)
    recorded = subject.passes.examples
    Quantization().score(subject, None, data, SETTINGS, 0)
    spent = subject.passes.examples - recorded
    assert Quantization().workload(data, SETTINGS, 6) == Workload(forward=spent)


def test_the_subject_is_left_as_it_was(world: World) -> None:
    subject = world.subject("retrain")
    before = {name: tensor.clone() for name, tensor in subject.module.state_dict().items()}
    scored(world, subject)
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.module.state_dict().items())


def test_a_network_without_such_weights_is_named(world: World) -> None:
    subject = world.subject("bilinear", nn.Sequential(nn.Flatten(), nn.Bilinear(64, 64, 10)))
    with pytest.raises(UsageError, match="the bilinear model has no linear map or convolution to quantise"):
        quantized(subject, 4)
