"""Debiased CKA: against its n × n form, under its null, and on trained pairs."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.models.canonical import rescaled
from auditor.probes.cka import Cka, debiased_cka
from auditor.records.score import Score
from auditor.tasks.classification.subject import Classifier
from auditor.zoo.digits_net import DigitsNet
from tests.worlds import World

Array = NDArray[np.float64]


def hsic_by_kernels(x: Array, y: Array) -> float:
    """Song et al. 2012, eq. 5, on n × n kernels."""
    n = len(x)
    k, other = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(other, 0)
    one = np.ones(n)
    total = np.trace(k @ other)
    total += (one @ k @ one) * (one @ other @ one) / ((n - 1) * (n - 2))
    total -= 2 / (n - 2) * (one @ k @ other @ one)
    return float(total / (n * (n - 3)))


def cka_by_kernels(x: Array, y: Array) -> float:
    return hsic_by_kernels(x, y) / np.sqrt(hsic_by_kernels(x, x) * hsic_by_kernels(y, y))


def biased_cka(x: Array, y: Array) -> float:
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def streamed(x: Array, y: Array, block: int = 7) -> float | None:
    parts = zip(torch.from_numpy(x).split(block), torch.from_numpy(y).split(block), strict=True)
    return debiased_cka(parts)


def draw(seed: int, n: int, p: int, q: int, shared: float = 0.0) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, p))
    y = random.normal(size=(n, q)) + shared * x @ random.normal(size=(p, q))
    return x + random.normal(size=p), y + random.normal(size=q)


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(4, 40),
    p=st.integers(1, 30),
    q=st.integers(1, 30),
    block=st.integers(1, 50),
)
def test_streamed_cka_equals_the_kernel_formula(seed: int, n: int, p: int, q: int, block: int) -> None:
    x, y = draw(seed, n, p, q, shared=0.3)
    assert streamed(x, y, block) == pytest.approx(cka_by_kernels(x, y), abs=1e-8)


def test_identical_features_score_one() -> None:
    x, _ = draw(0, 20, 50, 1)
    assert streamed(x, x) == pytest.approx(1.0, abs=1e-12)


def test_unrelated_features_score_zero_though_fewer_than_dimensions() -> None:
    pairs = [draw(seed, 20, 120, 120) for seed in range(60)]
    debiased = np.array([streamed(x, y) for x, y in pairs])
    biased = np.array([biased_cka(x, y) for x, y in pairs])
    assert abs(debiased.mean()) < 4 * debiased.std(ddof=1) / np.sqrt(len(debiased))
    assert biased.min() > 0.8


@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_rotation_shift_and_isotropic_scale_do_not_matter(seed: int, scale: float) -> None:
    x, y = draw(seed, 25, 12, 9, shared=0.5)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed + 1).normal(size=(12, 12)))
    assert streamed(scale * x @ rotation + 3.0, y) == pytest.approx(streamed(x, y), abs=1e-7)


def test_features_that_do_not_vary_have_no_cka() -> None:
    x, y = draw(0, 20, 5, 5)
    assert streamed(np.full_like(x, 0.1), y) is None


def scored(world: World, *names: str) -> dict[str, Score]:
    return {name: scored_subject(world, world.subject(name)) for name in names}


def scored_subject(world: World, subject: Classifier) -> Score:
    check, settings = Cka(), Cka.settings_type()
    artefact = check.prepare(world.subject("original"), world.data, settings, 0)
    return check.score(subject, artefact, world.data, settings, 0)


def total(score: Score) -> float:
    return score.total(Cka().choose(score, []))


def test_a_suppressor_keeps_the_original_features_and_a_retrain_does_not(world: World) -> None:
    scores = scored(world, "original", "head_row_zeroed", "retrain", "reference 0", "reference 1", "reference 2")
    totals = {name: total(score) for name, score in scores.items()}
    assert totals["original"] == pytest.approx(1.0, abs=1e-9)
    assert totals["head_row_zeroed"] == pytest.approx(1.0, abs=1e-9)
    references = [value for name, value in totals.items() if name.startswith("reference")]
    assert max(*references, totals["retrain"]) < 0.99
    assert abs(totals["retrain"] - np.mean(references)) < 4 * np.std(references, ddof=1)


def test_cells_and_readings(world: World) -> None:
    score = scored(world, "retrain")["retrain"]
    layers = world.layout.layers
    assert [(row["layer"], row["split"]) for row in score.rows] == [
        (layer, split) for layer in layers for split in ("forget", "retain")
    ]
    forget = [row["cka"] for row in score.rows if row["split"] == "forget"]
    assert forget == [score.readings[layer].value for layer in layers]
    assert total(score) == pytest.approx(np.mean(forget))
    assert score.n_examples == len(world.data.forget_attack) + len(world.data.forget_eval)


def test_score_equals_the_kernel_formula_on_z_scored_features(world: World) -> None:
    subjects = world.subject("original"), world.subject("retrain")
    layer = world.layout.layers[0]
    z = []
    for subject in subjects:
        retain, *parts = (
            subject.recording(split).features[layer].double().numpy()
            for split in ("retain", "forget_attack", "forget_eval")
        )
        forget, std = np.concatenate(parts), retain.std(0, ddof=1)
        # A unit dead on retain data is scaled by the forget set; dead there too, it is constant and left out.
        std = np.where(std > 1e-6 * np.abs(retain).max(0), std, forget.std(0, ddof=1))
        z.append(((forget - retain.mean(0))[:, std > 0]) / std[std > 0])
    value = scored(world, "retrain")["retrain"].readings[layer].value
    assert value == pytest.approx(cka_by_kernels(*z), abs=1e-6)


HIDDEN_MAPS = (
    ("convolutions.0", "convolutions.2", 1),
    ("convolutions.2", "hidden.0", 16),
    ("hidden.0", "hidden.2", 1),
    ("hidden.2", "hidden.4", 1),
    ("hidden.4", "head", 1),
)
"""Maps of a digits network, the map that reads each, and its inputs per unit."""


def permuted(net: nn.Module, seed: int = 0) -> nn.Module:
    """The same function with the units of every hidden layer of a digits network in another order."""
    random = torch.Generator().manual_seed(seed)
    other = DigitsNet().eval()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for layer, following, repeat in HIDDEN_MAPS:
        order = torch.randperm(len(state[f"{layer}.bias"]), generator=random)
        state[f"{layer}.weight"] = state[f"{layer}.weight"][order]
        state[f"{layer}.bias"] = state[f"{layer}.bias"][order]
        columns = (order[:, None] * repeat + torch.arange(repeat)).flatten()
        state[f"{following}.weight"] = state[f"{following}.weight"][:, columns]
    other.load_state_dict(state)
    return other


def unit_factors(world: World, exponent: float) -> list[Tensor]:
    units = [world.modules["original"].get_submodule(p.producer).weight.shape[0] for p in world.layout.pairs]
    return [2.0 ** (exponent * torch.linspace(-1, 1, n)) for n in units]


@pytest.mark.parametrize("exponent", [-3.0, 3.0])
def test_rescaling_units_does_not_change_the_score(world: World, exponent: float) -> None:
    net = rescaled(world.modules["retrain"], world.layout.pairs, unit_factors(world, exponent))
    plain, evaded = world.subject("retrain"), world.subject("retrain", net)
    assert total(scored_subject(world, evaded)) == pytest.approx(total(scored_subject(world, plain)), abs=1e-5)


def test_permuting_units_does_not_change_the_score(world: World) -> None:
    net = permuted(world.modules["retrain"])
    x = world.data.retain.inputs[:16]
    assert torch.allclose(net(x), world.modules["retrain"](x), atol=1e-4)
    plain, evaded = world.subject("retrain"), world.subject("retrain", net)
    assert total(scored_subject(world, evaded)) == pytest.approx(total(scored_subject(world, plain)), abs=1e-5)


def test_it_costs_nothing_beyond_the_recording(world: World) -> None:
    subject = world.subject("retrain")
    for split in ("forget_attack", "forget_eval", "retain"):
        subject.recording(split)
    before = subject.passes.examples
    scored_subject(world, subject)
    assert subject.passes.examples == before


class Recorded:
    """A subject that is nothing but its recordings."""

    role = "recorded"

    def __init__(self, forget: Tensor, retain: Tensor) -> None:
        self.sets = {"forget_attack": forget[:20], "forget_eval": forget[20:], "retain": retain}

    def layers(self) -> tuple[str, ...]:
        return ("layer",)

    def features(self, split: str) -> dict[str, Tensor]:
        return {"layer": self.sets[split]}


@pytest.mark.parametrize("loudness", [0.125, 8.0])
def test_a_unit_silent_on_retain_data_counts_at_any_scale(world: World, loudness: float) -> None:
    random = torch.Generator().manual_seed(0)
    forget, retain = torch.randn(40, 6, generator=random), torch.randn(50, 6, generator=random)
    retain[:, 0] = 0.0

    def value(own: Tensor) -> float:
        artefact = Cka().prepare(Recorded(forget, retain), world.data, None, 0)
        return total(Cka().score(Recorded(own, retain), artefact, world.data, None, 0))

    factor = torch.tensor([loudness, 1, 1, 1, 1, 1])
    assert value(forget * factor) == pytest.approx(1.0, abs=1e-6)
    assert value(forget * (factor != loudness)) < 0.99


def test_too_small_a_set_is_named(world: World) -> None:
    few = dataclasses.replace(world.data, retain=world.data.retain.take(torch.arange(3)))
    with pytest.raises(UsageError, match="the retain set has 3 examples; debiased CKA needs 4 or more"):
        Cka().prepare(world.subject("original"), few, None, 0)


def test_a_layer_that_never_varies_is_named(world: World) -> None:
    net = DigitsNet().eval()
    with torch.no_grad():
        net.convolutions[0].weight.zero_()
    with pytest.raises(UsageError, match=r"the dead model or of the original at 'convolutions\.1' are the same"):
        scored_subject(world, world.subject("dead", net))
