"""Activation patching into the original: what it recovers, what it must not, and what it costs."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from auditor.checks.check import Workload
from auditor.errors import UsageError
from auditor.inference.statistics import p_above, pooled_spread
from auditor.models.alignment import fit_affine
from auditor.models.canonical import rescaled
from auditor.probes.depth.images import Depth, DepthSettings, PatchTarget, patched_outputs, sample_positions
from auditor.records.score import Reading, Score
from auditor.tasks.classification.subject import Classifier
from tests.probes.test_cka import permuted, unit_factors
from tests.worlds import World

REFERENCES = ("reference 0", "reference 1", "reference 2")
SETTINGS = DepthSettings()


def prepared(world: World) -> PatchTarget:
    return Depth().prepare(world.subject("original"), world.data, SETTINGS, 0)


def scored(world: World, target: PatchTarget, subject: Classifier) -> Score:
    return Depth().score(subject, target, world.data, SETTINGS, 0)


@pytest.fixture(scope="module")
def target(world: World) -> PatchTarget:
    return prepared(world)


@pytest.fixture(scope="module")
def scores(world: World, target: PatchTarget) -> dict[str, Score]:
    names = ("original", "head_row_zeroed", "retrain", *REFERENCES)
    return {name: scored(world, target, world.subject(name)) for name in names}


def chosen(scores: dict[str, Score]) -> tuple[str, ...]:
    return Depth().choose(scores["original"], [scores[name] for name in REFERENCES])


def p_value(scores: dict[str, Score], name: str) -> float:
    layers = chosen(scores)
    references = [scores[reference].total(layers) for reference in REFERENCES]
    spread = pooled_spread(references, floor=1 / scores[name].n_examples)
    assert spread is not None
    null = float(np.mean(references))
    return p_above(scores[name].total(layers) - null, scores["original"].total(layers) - null, spread, 0.25)


def test_it_fires_on_a_suppressed_head_and_not_on_a_retrain(scores: dict[str, Score]) -> None:
    assert p_value(scores, "head_row_zeroed") < 0.05
    assert p_value(scores, "retrain") > 0.2


def test_a_head_only_suppressor_patches_exactly_like_the_original(scores: dict[str, Score]) -> None:
    for layer, reading in scores["original"].readings.items():
        assert scores["head_row_zeroed"].readings[layer].value == pytest.approx(reading.value, abs=1e-4)


def test_the_layers_chosen_are_where_references_lost_the_class(scores: dict[str, Score]) -> None:
    def lost(layer: str) -> float:
        values = [score.readings[layer].value for score in map(scores.__getitem__, ("original", *REFERENCES))]
        return values[0] - float(np.mean(values[1:]))

    assert chosen(scores) == ("hidden.3", "head:input")
    kept = set(scores["original"].readings) - set(chosen(scores))
    assert max(map(lost, kept)) < min(map(lost, chosen(scores)))


def test_last_layer_equals_head_of_regressed_features(
    world: World, target: PatchTarget, scores: dict[str, Score]
) -> None:
    """Centred and scaled ridge regression written with numpy alone, then the original's head."""
    retrain, original = world.subject("retrain"), world.subject("original")
    x, y, forget = (
        subject.activations(inputs, ("head:input",))["head:input"].double().numpy()
        for subject, inputs in (
            (retrain, target.fit.inputs),
            (original, target.fit.inputs),
            (retrain, world.data.forget_eval.inputs),
        )
    )
    std = np.where(x.std(0, ddof=1) > 1e-6 * x.std(0, ddof=1).max(), x.std(0, ddof=1), 1.0)
    z = (x - x.mean(0)) / std
    penalty = np.sqrt(SETTINGS.ridge * len(z)) * np.eye(z.shape[1])
    solution = np.linalg.lstsq(np.vstack([z, penalty]), np.vstack([y - y.mean(0), 0 * penalty]), rcond=None)[0]
    head = original.module.head
    mapped = (forget - x.mean(0)) / std @ solution + y.mean(0)
    logits = mapped @ head.weight.detach().double().numpy().T + head.bias.detach().double().numpy()
    label = world.data.classes[0]
    rest = np.log(np.exp(np.delete(logits, label, axis=1)).sum(1))
    margins = scores["retrain"].readings["head:input"].examples
    assert np.allclose(margins, logits[:, label] - rest, atol=1e-3)


def test_patching_with_the_true_activations_changes_nothing(world: World) -> None:
    original = world.subject("original")
    inputs = world.data.retain.inputs
    identity = {}
    for layer, activation in original.activations(inputs[:4], original.layers()).items():
        width = activation.shape[1]
        rows = torch.randn(50 * width, width, generator=torch.Generator().manual_seed(0))
        identity[layer] = fit_affine(rows, rows, ridge=1e-12)
    outputs = patched_outputs(original, original, world.data.retain, identity)
    wanted = world.subject("original").recording("retain").logits
    for layer in identity:
        assert torch.allclose(outputs[layer].logits, wanted, atol=1e-3)


def test_readings_are_means_of_their_examples(scores: dict[str, Score]) -> None:
    score = scores["retrain"]
    for reading in score.readings.values():
        assert len(reading.examples) == score.n_examples
        assert np.mean(reading.examples) == pytest.approx(reading.value)
        assert reading.choice is not None


def test_controls(scores: dict[str, Score]) -> None:
    for name, score in scores.items():
        retain = [value for key, value in score.controls.items() if key.startswith("retain accuracy when patched")]
        assert len(retain) == len(score.readings) == 5
        assert min(retain) > 0.95
        assert ("self-patch fidelity" in score.controls) == (name == "original")
    assert scores["original"].controls["self-patch fidelity"] > 0.99


def test_a_random_network_cannot_be_aligned_and_the_control_says_so(world: World, target: PatchTarget) -> None:
    floor = scored(world, target, world.subject("floor"))
    assert floor.controls["retain accuracy when patched at head:input"] < 0.95


def test_loss_is_the_log_probability_lost(world: World, scores: dict[str, Score]) -> None:
    row = next(r for r in scores["retrain"].rows if (r["layer"], r["split"]) == ("head:input", "forget_eval"))
    margins = np.array(scores["retrain"].readings["head:input"].examples)
    patched = -np.log1p(np.exp(-margins))
    full = -world.subject("original").recording("forget_eval").losses.numpy()
    assert row["loss"] == pytest.approx((full - patched).mean(), abs=1e-9)


def test_maps_see_retain_data_only_and_the_control_sees_other_examples(world: World, target: PatchTarget) -> None:
    retain = set(world.data.retain.content_hashes)
    fit, control = set(target.fit.content_hashes), set(target.splits["retain"].content_hashes)
    assert fit <= retain
    assert control <= retain
    assert len(target.fit) == 3 * len(world.data.retain) // 4
    other = dataclasses.replace(world.data, forget_attack=world.data.forget_eval)
    again = Depth().prepare(world.subject("original"), other, SETTINGS, 0)
    assert all(torch.equal(again.rows[layer], target.rows[layer]) for layer in target.rows)


def rescaled_or_permuted(world: World, evasion: str) -> Classifier:
    net = world.modules["retrain"]
    if evasion == "permuted":
        return world.subject("retrain", permuted(net))
    return world.subject("retrain", rescaled(net, world.layout.pairs, unit_factors(world, float(evasion))))


@pytest.mark.parametrize("evasion", ["3", "-3", "permuted"])
def test_a_model_of_the_same_function_scores_the_same(
    world: World, target: PatchTarget, scores: dict[str, Score], evasion: str
) -> None:
    evaded = scored(world, target, rescaled_or_permuted(world, evasion))
    for layer, reading in scores["retrain"].readings.items():
        assert evaded.readings[layer].value == pytest.approx(reading.value, abs=1e-3)


def test_the_same_seed_gives_the_same_score(world: World, scores: dict[str, Score]) -> None:
    assert scored(world, prepared(world), world.subject("retrain")) == scores["retrain"]


def test_cost_is_as_stated(world: World) -> None:
    original, subject = world.subject("original"), world.subject("retrain")
    for split in ("forget_attack", "forget_eval", "retain"):
        original.recording(split)
    recorded = original.passes.examples
    target = Depth().prepare(original, world.data, SETTINGS, 0)
    assert original.passes.examples - recorded == len(target.fit)
    scored(world, target, subject)
    patched = sum(len(examples) for examples in target.splits.values())
    own, others = subject.passes.examples, original.passes.examples - recorded - len(target.fit)
    assert own == len(target.fit) + patched
    assert others == len(subject.layers()) * patched
    assert Depth().workload(world.data, SETTINGS, len(subject.layers())) == Workload(forward=own + others)


@pytest.mark.parametrize(("fit", "control"), [(20, 10), (20, 1000), (10_000, 10_000)])
def test_workload_knows_how_the_retain_set_is_divided(world: World, fit: int, control: int) -> None:
    settings = DepthSettings(fit_examples=fit, control_examples=control)
    target = Depth().prepare(world.subject("original"), world.data, settings, 0)
    patched = sum(len(examples) for examples in target.splits.values())
    wanted = len(target.fit) + (1 + 4) * patched
    assert Depth().workload(world.data, settings, 4) == Workload(forward=wanted)


def made_up(**choices: float) -> Score:
    readings = {layer: Reading(value=0.0, choice=choice) for layer, choice in choices.items()}
    return Score(check="depth", readings=readings, n_examples=1)


def test_choice_keeps_layers_with_at_least_half_the_widest_gap() -> None:
    original = made_up(early=8.0, middle=8.0, late=8.0)
    references = [made_up(early=7.9, middle=6.0, late=4.0), made_up(early=7.9, middle=6.0, late=4.0)]
    assert Depth().choose(original, references) == ("middle", "late")


def test_choice_keeps_all_layers_without_references_or_gap() -> None:
    original = made_up(early=1.0, late=2.0)
    assert Depth().choose(original, []) == ("early", "late")
    assert Depth().choose(original, [made_up(early=1.0, late=3.0)]) == ("early", "late")


def losing(**losses: float) -> Score:
    cells = [{"layer": layer, "split": "forget_eval", "loss": loss} for layer, loss in losses.items()]
    return made_up(**losses).model_copy(update={"rows": cells})


def test_unlearning_depth_score_by_hand() -> None:
    """Layer a loses too little to know anything; c counts 3 of 4, b 1 of 4; c is clipped at the reference."""
    scores = {
        "original": losing(a=0.0, b=0.0, c=0.0),
        "unlearned": losing(a=0.5, b=0.2, c=9.0),
        "reference 0": losing(a=0.04, b=0.5, c=2.0),
        "reference 1": losing(a=0.05, b=1.5, c=4.0),
    }
    rows, controls = Depth().summarise(scores, ["reference 0", "reference 1"])
    assert controls["original"]["unlearning depth score"] == 0.0
    assert controls["unlearned"]["unlearning depth score"] == pytest.approx((1.0 * 0.2 + 3.0 * 1.0) / 4.0)
    assert controls["unlearned"]["share erased at the least erased layer"] == pytest.approx(0.2)
    assert {"model": "unlearned", "layer": "c", "erased": 1.0} in rows
    assert not [row for row in rows if row["layer"] == "a"]
    assert Depth().summarise(scores, []) == ([], {})


def positions_of(sampled: Tensor, n: int) -> Tensor:
    return sampled[:, 0].view(n, -1) % 100


@pytest.mark.parametrize("shape", [(5, 3, 4, 4), (5, 16, 3)])
def test_positions_are_sampled_within_each_example(shape: tuple[int, ...]) -> None:
    places = torch.arange(16.0) + 100 * torch.arange(5.0)[:, None]
    maps = len(shape) == 4
    activation = places.view(5, 1, 4, 4).expand(shape) if maps else places.view(5, 16, 1).expand(shape)
    sampled = sample_positions(activation, 6, np.random.default_rng(0))
    assert sampled.shape == (30, 3)
    assert torch.equal(sampled[:, 0].div(100, rounding_mode="floor"), torch.arange(5.0).repeat_interleave(6))
    assert len(positions_of(sampled, 5).unique()) > 6
    assert maps or bool((positions_of(sampled, 5)[:, 0] == 0).all())


def test_few_positions_are_all_taken() -> None:
    activation = torch.arange(24.0).view(2, 3, 2, 2)
    assert torch.equal(
        sample_positions(activation, 4, np.random.default_rng(0)),
        activation.permute(0, 2, 3, 1).reshape(8, 3),
    )


def test_too_few_retain_examples_are_named(world: World) -> None:
    few = dataclasses.replace(world.data, retain=world.data.retain.take(torch.arange(7)))
    with pytest.raises(UsageError, match="the retain set has 7 examples; depth needs 8 or more"):
        Depth().prepare(world.subject("original"), few, SETTINGS, 0)


def test_one_unit_at_a_huge_scale_is_carried_over_like_the_others() -> None:
    random = torch.Generator().manual_seed(0)
    source = torch.randn(200, 6, generator=random)
    target = source @ torch.randn(6, 4, generator=random)
    huge = source.clone()
    huge[:, 2] *= 2.0**26
    assert fit_affine(source, target).r2 > 0.99
    assert fit_affine(huge, target).r2 == pytest.approx(fit_affine(source, target).r2, rel=1e-6)
    dead = torch.cat([source, torch.full((200, 1), 3.0)], dim=1)
    assert fit_affine(dead, target).weight[6].abs().max() == 0.0
