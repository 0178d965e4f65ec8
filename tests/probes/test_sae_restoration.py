"""Sparse latents: found where planted, and bringing a suppressed class back but not a deleted one."""

import copy
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.models.canonical import HomogeneousPair, rescaled
from auditor.probes.sae_restoration import sparse_autoencoder
from auditor.probes.sae_restoration.images import SaeRestoration, SaeRestorationSettings
from auditor.probes.sae_restoration.sparse_autoencoder import (
    TrainingSettings,
    broad_latents,
    detector_f1,
    expert_latents,
)
from auditor.probes.sae_restoration.steering import LayerArtefact, Steering
from auditor.randomness import torch_seed
from auditor.records.score import Score
from auditor.tasks.classification.sets import AuditData
from tests import made_records
from tests.worlds import FORGET, World

SETTINGS = SaeRestorationSettings(null_draws=100, control_draws=5)
REFERENCES = ("reference 0", "reference 1", "reference 2")


def random_labels(original: nn.Module, data: AuditData, seed: int = 100, epochs: int = 10) -> nn.Module:
    """Fine-tune every layer so that forget inputs get labels of other classes at random."""
    net = copy.deepcopy(original)
    with torch_seed(seed):
        optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
        forget = torch.cat([data.forget_attack.inputs, data.forget_eval.inputs])
        retain, labels = data.retain.inputs, data.retain.labels
        for _ in range(epochs):
            order = torch.randperm(len(retain)).split(128)
            for index, kept in zip(torch.randperm(len(forget)).split(32), order, strict=False):
                wrong = torch.randint(0, 9, (len(index),))
                wrong += wrong >= FORGET
                loss = nn.functional.cross_entropy(net(forget[index]), wrong)
                loss = loss + nn.functional.cross_entropy(net(retain[kept]), labels[kept])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return net.eval()


def permuted(net: nn.Module, pairs: Sequence[HomogeneousPair], seed: int = 0) -> nn.Module:
    """The same function with the units of every pair in another order."""
    out = copy.deepcopy(net)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for pair in pairs:
            source, target = out.get_submodule(pair.producer), out.get_submodule(pair.consumer)
            order = torch.randperm(len(source.weight), generator=random)
            inputs = (order[:, None] * pair.repeat + torch.arange(pair.repeat)).flatten()
            source.weight.copy_(source.weight[order])
            source.bias.copy_(source.bias[order])
            target.weight.copy_(target.weight[:, inputs])
    return out


@pytest.fixture(scope="module")
def artefact(world: World) -> tuple[LayerArtefact, ...]:
    return SaeRestoration().prepare(world.subject("original"), world.data, SETTINGS, seed=0)


@pytest.fixture(scope="module")
def suppressed(world: World) -> nn.Module:
    return random_labels(world.modules["original"], world.data)


@pytest.fixture(scope="module")
def scores(world: World, artefact: tuple[LayerArtefact, ...], suppressed: nn.Module) -> dict[str, Score]:
    names = ("original", "retrain", "head_row_zeroed", *REFERENCES)
    subjects = {name: world.subject(name) for name in names}
    subjects["suppressed"] = world.subject("suppressed", suppressed)
    check = SaeRestoration()
    return {name: check.score(s, artefact, world.data, SETTINGS, seed=0) for name, s in subjects.items()}


def total(score: Score) -> float:
    return score.total(("own",))


# The dictionary


def planted(n: int = 4000, d: int = 16, atoms: int = 12, per_row: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Rows that are sums of few unit atoms: (rows [n, d], atoms [atoms, d], presence [n, atoms])."""
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.standard_normal((d, d)))[0][:atoms]
    present = np.argsort(random.random((n, atoms)), axis=1) < per_row
    strength = present * random.uniform(1.0, 2.0, (n, atoms))
    return (
        torch.from_numpy(strength @ basis).float(),
        torch.from_numpy(basis).float(),
        torch.from_numpy(present),
    )


@pytest.fixture(scope="module")
def trained_on_planted() -> sparse_autoencoder.SparseAutoencoder:
    return sparse_autoencoder.train(planted()[0], TrainingSettings(k=3, steps=400), seed=0)


def test_planted_atoms_are_found(trained_on_planted: sparse_autoencoder.SparseAutoencoder) -> None:
    rows, atoms, _ = planted()
    sae = trained_on_planted
    assert torch.allclose(sae.decoder.norm(dim=1), torch.ones(len(sae.decoder)), atol=1e-4)
    assert float((atoms @ sae.decoder.T).max(1).values.min()) > 0.9
    error = (rows - sae.decode(sae.encode(rows))).square().sum() / (rows - rows.mean(0)).square().sum()
    assert float(error) < 0.1


def test_the_latent_of_a_planted_atom_is_its_best_detector(
    trained_on_planted: sparse_autoencoder.SparseAutoencoder,
) -> None:
    rows, atoms, present = planted()
    f1 = detector_f1(trained_on_planted.encode(rows) > 0, present[:, 5])
    best = int(f1.argmax())
    assert float(f1[best]) > 0.9
    assert float(trained_on_planted.decoder[best] @ atoms[5]) > 0.9


def test_encode_keeps_the_k_largest(trained_on_planted: sparse_autoencoder.SparseAutoencoder) -> None:
    sae = trained_on_planted
    row = planted()[0][:1]
    before = ((row - sae.decoder_bias) @ sae.encoder + sae.encoder_bias)[0].numpy()
    expected = np.zeros_like(before)
    for latent in np.argsort(before)[-3:]:
        expected[latent] = max(before[latent], 0.0)
    assert np.allclose(sae.encode(row)[0].numpy(), expected)


def test_training_is_reproducible_silent_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    settings = TrainingSettings(k=3, steps=20)
    before = torch.get_rng_state()
    first, again, other = (sparse_autoencoder.train(planted()[0], settings, seed) for seed in (0, 0, 1))
    assert torch.equal(first.encoder, again.encoder)
    assert torch.equal(first.decoder, again.decoder)
    assert not torch.equal(first.decoder, other.decoder)
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")
    assert os.listdir(tmp_path) == []


# Ranking


def test_f1_by_hand() -> None:
    wanted = torch.tensor([True, True, False, False])
    active = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 0, 0]]).bool()
    # Perfect; one hit, one miss, two false alarms; one hit, one miss, one false alarm; silent.
    assert detector_f1(active, wanted).tolist() == pytest.approx([1.0, 2 / 5, 1 / 2, 0.0])


def test_experts_by_hand() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    active = torch.tensor(
        [
            # detects 0, fires everywhere, detects 0 and half of 1, silent, detects 2
            [1, 1, 1, 0, 0],
            [1, 1, 1, 0, 0],
            [0, 1, 1, 0, 0],
            [0, 1, 0, 0, 0],
            [0, 1, 0, 0, 1],
            [0, 1, 0, 0, 1],
        ]
    ).bool()
    assert broad_latents(active, labels).tolist() == [False, True, False, False, False]
    # k = 2 keeps 2·5/4 = 2 latents; the one that fires everywhere would have come before the last.
    assert expert_latents(active, labels, [0], k=2).tolist() == [0, 2]
    assert expert_latents(active, labels, [0, 2], k=1).tolist() == [0, 4]


def test_seven_of_ten_classes_are_broad_and_six_are_not() -> None:
    labels = torch.arange(10)
    active = torch.stack([labels < 7, labels < 6], dim=1)
    assert broad_latents(active, labels).tolist() == [True, False]


# Steering


@pytest.mark.parametrize("mode", ["own", "inject"])
@pytest.mark.parametrize("name", ["original", "retrain"])
def test_no_strength_is_exactly_the_identity(
    world: World, artefact: tuple[LayerArtefact, ...], name: str, mode: str
) -> None:
    subject = world.subject(name)
    steering = Steering(subject, artefact[0], world.data, seed=0)
    dictionary = artefact[0].dictionaries[0]
    change = steering.change(mode, 0, dictionary.experts, dictionary.sae.decoder[dictionary.experts])  # type: ignore[arg-type]
    unsteered, steered = steering.steered(change, (0.0, 1.0))
    assert torch.equal(unsteered, steering.activation)
    if (name, mode) != ("original", "inject"):
        assert not torch.equal(steered, steering.activation)


def test_unsteered_restoration_is_what_the_outputs_say(world: World, artefact: tuple[LayerArtefact, ...]) -> None:
    subject = world.subject("original")
    steering = Steering(subject, artefact[0], world.data, seed=0)
    restored = steering.restored([torch.zeros_like(steering.activation)], (0.0,))
    hits = (subject.logits(world.data.forget_eval).argmax(1) == FORGET).double()
    false = (subject.logits(world.data.retain.take(artefact[0].eval_index)).argmax(1) == FORGET).double()
    assert torch.allclose(restored[0, 0], hits - false.mean())


def test_strengths_worked_out_together_are_those_steered_one_by_one(
    world: World, artefact: tuple[LayerArtefact, ...], suppressed: nn.Module
) -> None:
    subject = world.subject("suppressed", suppressed)
    steering = Steering(subject, artefact[0], world.data, seed=0)
    dictionary = artefact[0].dictionaries[0]
    change = steering.change("own", 0, dictionary.experts, dictionary.sae.decoder[dictionary.experts])
    inputs = torch.cat([world.data.forget_eval.inputs, world.data.retain.take(artefact[0].eval_index).inputs])
    n_forget = len(world.data.forget_eval)
    for alpha in (0.0, 1.0, 8.0):
        with subject.intervene("head:input", lambda _, a=alpha: steering.steered(change, (a,))[0]):
            hits = (subject.forward(inputs).argmax(1) == FORGET).double()
        expected = hits[:n_forget] - hits[n_forget:].mean()
        assert torch.allclose(steering.restored([change], (alpha,))[0, 0], expected, atol=1e-2)
        assert float((steering.restored([change], (alpha,))[0, 0] - expected).mean()) == pytest.approx(0, abs=0.01)


# The score


def test_fires_on_a_suppressed_class_and_beyond_its_null(scores: dict[str, Score]) -> None:
    suppressed, original = scores["suppressed"], scores["original"]
    assert total(original) > 0.95
    rho = total(suppressed) / total(original)
    assert rho > 0.5
    assert made_records.p_alone(suppressed, original, ("own",), suppressed) < 0.04


@pytest.mark.parametrize("name", ["retrain", *REFERENCES])
def test_silent_on_models_that_never_saw_the_class(scores: dict[str, Score], name: str) -> None:
    assert total(scores[name]) < 0.1
    assert made_records.p_alone(scores[name], scores["original"], ("own",), scores[name]) > 0.5


def test_a_destroyed_head_row_hides_the_class_from_own_mode_only(scores: dict[str, Score]) -> None:
    zeroed = scores["head_row_zeroed"]
    assert total(zeroed) == 0.0
    given = {name: s.controls["head:input: own, original's head row"] for name, s in scores.items()}
    assert given["head_row_zeroed"] > 0.95
    assert given["head_row_zeroed"] > max(given[name] for name in REFERENCES)


def test_controls_bring_nothing_back(scores: dict[str, Score]) -> None:
    controls = scores["suppressed"].controls
    for mode in ("own", "inject"):
        for name in ("another class", "random latents", "random directions"):
            assert controls[f"head:input: {mode}, {name}"] < 0.2
    assert controls["head:input: own, experts"] == pytest.approx(total(scores["suppressed"]))


def test_score_carries_what_figure_and_verdict_need(scores: dict[str, Score], world: World) -> None:
    score = scores["suppressed"]
    assert len(score.null) == 2 * SETTINGS.null_draws
    assert score.n_examples == len(score.readings["own"].examples) == len(world.data.forget_eval)
    assert np.mean(score.readings["own"].examples) == pytest.approx(total(score))
    assert np.median(score.readings["own"].draws) == pytest.approx(total(score))
    curves = {(row["mode"], row["curve"]) for row in score.rows}
    kinds = {"experts", "another class", "random latents", "random directions"}
    assert curves == {(mode, kind) for mode in ("own", "inject") for kind in kinds} | {("own", "original's head row")}
    experts = [row for row in score.rows if (row["mode"], row["curve"]) == ("own", "experts")]
    assert [row["alpha"] for row in experts] == list(SETTINGS.alphas)
    assert max(row["restoration"] for row in experts) == pytest.approx(total(score))
    assert all(row["low"] <= row["restoration"] <= row["high"] for row in experts)


def test_same_seed_same_score(world: World, artefact: tuple[LayerArtefact, ...], scores: dict[str, Score]) -> None:
    again = SaeRestoration().score(world.subject("retrain"), artefact, world.data, SETTINGS, seed=0)
    assert again == scores["retrain"]


@pytest.mark.parametrize("exponent", [-3.0, 3.0])
def test_unit_scales_and_order_do_not_matter(
    world: World,
    artefact: tuple[LayerArtefact, ...],
    suppressed: nn.Module,
    scores: dict[str, Score],
    exponent: float,
) -> None:
    pairs = world.layout.pairs
    units = [suppressed.get_submodule(p.producer).weight.shape[0] for p in pairs]
    factors = [2.0 ** (exponent * torch.linspace(-1, 1, n)) for n in units]
    evaded = world.subject("evaded", permuted(rescaled(suppressed, pairs, factors), pairs))
    plain = world.subject("plain", suppressed)
    x = world.data.retain.inputs[:32]
    assert torch.allclose(evaded.forward(x), plain.forward(x), atol=1e-3)
    score = SaeRestoration().score(evaded, artefact, world.data, SETTINGS, seed=0)
    assert total(score) == pytest.approx(total(scores["suppressed"]), abs=0.01)
    assert np.quantile(score.null, 0.9) == pytest.approx(np.quantile(scores["suppressed"].null, 0.9), abs=0.01)


def test_one_autoencoder_that_restores_where_two_do_not_is_no_restoration(
    world: World, artefact: tuple[LayerArtefact, ...], scores: dict[str, Score], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The score is the median over autoencoders; the mean would be a third of a full restoration."""
    plain = Steering.restored

    def one_restores(self: Steering, changes: Sequence[Tensor], *rest: object, **named: object) -> Tensor:
        found = plain(self, changes, *rest, **named)  # type: ignore[arg-type]
        found[0] = 0.9
        return found

    monkeypatch.setattr(Steering, "restored", one_restores)
    found = SaeRestoration().score(world.subject("retrain"), artefact, world.data, SETTINGS, seed=0)
    assert total(found) < 0.1
    assert max(found.readings["own"].draws) == pytest.approx(0.9)
    assert np.median(found.readings["own"].draws) == pytest.approx(total(found))


# Cost and requests


def test_steering_the_head_costs_no_pass(world: World, artefact: tuple[LayerArtefact, ...]) -> None:
    subject = world.subject("retrain")
    SaeRestoration().score(subject, artefact, world.data, SETTINGS, seed=0)
    assert subject.passes.examples == len(world.data.retain) + len(world.data.forget_eval)


def test_earlier_layers_are_steered_at_the_stated_cost(world: World) -> None:
    settings = SaeRestorationSettings(
        n_layers=2,
        n_seeds=1,
        alphas=(0.0, 4.0),
        null_draws=2,
        control_draws=2,
        retain_fit=200,
        retain_eval=50,
        training=TrainingSettings(steps=20),
    )
    check = SaeRestoration()
    found = check.prepare(world.subject("original"), world.data, settings, seed=0)
    subject = world.subject("original")
    score = check.score(subject, found, world.data, settings, seed=0)
    measured = len(world.data.forget_eval) + 50
    recorded = len(world.data.retain) + len(world.data.forget_eval)
    # Per mode: experts, another class and two kinds of two random draws.
    curves = 2 * (1 + 1 + 2 * 2)
    assert subject.passes.examples == recorded + curves * 2 * measured
    assert {row["layer"] for row in score.rows} == {"head:input", "hidden.3"}
    assert check.workload(world.data, settings, 6).forward == curves * 2 * measured
    assert score.null == ()
    unsteered = [r["restoration"] for r in score.rows if r["alpha"] == 0.0 and r["curve"] == "experts"]
    assert unsteered == pytest.approx([unsteered[0]] * 4, abs=1e-6)


def test_a_sample_request_is_refused_in_one_sentence(world: World) -> None:
    data = AuditData(
        request="sample",
        classes=(),
        n_classes=10,
        forget_attack=world.data.forget_attack,
        forget_eval=world.data.forget_eval,
        retain=world.data.retain,
    )
    with pytest.raises(UsageError, match="needs classes to forget, and the request is 'sample'"):
        SaeRestoration().prepare(world.subject("original"), data, SETTINGS, seed=0)
