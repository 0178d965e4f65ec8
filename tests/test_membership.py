"""Membership in outputs and features: scorers against other formulas, checks against known truth."""

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from auditor.attacks.feature_membership import FeatureMembership, centre_margins, class_centres
from auditor.attacks.membership import scores as scorers
from auditor.attacks.membership.images import Membership
from auditor.attacks.membership.readings import MembershipSettings
from auditor.checks.check import Check, Workload
from auditor.data import AuditData, Examples, split_in_halves
from auditor.errors import UsageError
from auditor.inference import statistics
from auditor.inference.auc import auc_with_limits
from auditor.models import training
from auditor.randomness import generator
from auditor.recording import Recording
from auditor.records.score import Score
from auditor.subjects.canonical import rescaled
from auditor.subjects.layout import find_layout
from auditor.zoo.digits_net import DigitsNet
from tests.test_cka import permuted
from tests.worlds import RECIPE, World, digits

REFERENCES = ("reference 0", "reference 1", "reference 2")
CHECKS = [Membership(), FeatureMembership()]
SETTINGS = MembershipSettings()
Scores = dict[str, Score]
margins = st.lists(st.integers(-8, 8).map(float), min_size=2, max_size=25).map(np.array)


# --- scorers -----------------------------------------------------------------------------------------------


def test_margins_and_losses_agree_with_probabilities() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0], [60.0, 0.0, 0.0]])
    labels = torch.tensor([0, 2, 1])
    recording = Recording(labels=labels, logits=logits, features={})
    p = torch.softmax(logits.double(), 1)[torch.arange(3), labels]
    assert np.allclose(recording.margins.numpy(), torch.log(p / (1 - p)).numpy())
    assert np.allclose(scorers.negative_losses(recording.margins.numpy()), -recording.losses.numpy())


def test_a_sure_answer_keeps_a_finite_margin() -> None:
    recording = Recording(labels=torch.tensor([0]), logits=torch.tensor([[200.0, 0.0, 0.0]]), features={})
    assert recording.margins.item() == pytest.approx(200 - math.log(2))


def test_tpr_at_low_fpr_allows_ten_false_positives_at_least() -> None:
    others = np.arange(100.0)
    point = scorers.tpr_at_low_fpr(np.array([50.0, 89.0, 89.5, 95.0]), others, target=0.001)
    assert point is not None
    assert (point.fpr.value, point.tpr.value) == (0.1, 0.5)
    assert (point.tpr.low, point.tpr.high) == statistics.exact_rate_limits(2, 4)
    assert scorers.tpr_at_low_fpr(np.zeros(4), np.zeros(19), target=0.001) is None


def test_tied_non_members_never_exceed_the_allowed_rate() -> None:
    point = scorers.tpr_at_low_fpr(np.ones(5), np.ones(50), target=0.2)
    assert point is not None
    assert (point.fpr.value, point.tpr.value) == (0.0, 0.0)


@given(margins, margins, st.integers(2, 60))
def test_roc_points_lie_on_the_empirical_curve(members: Any, others: Any, n_points: int) -> None:
    for fpr, tpr in scorers.roc_points(members, others, n_points):
        reachable = [np.mean(members > t) for t in [*others, -np.inf] if np.mean(others > t) <= fpr + 1e-12]
        assert tpr == pytest.approx(max(reachable))


def test_roc_ends_at_one_and_is_short() -> None:
    random = np.random.default_rng(1)
    points = scorers.roc_points(random.normal(1, 1, 500), random.normal(0, 1, 5000), 50)
    assert points[0][0] == 1 / 5000
    assert points[-1] == (1.0, 1.0)
    assert len(points) <= 50


def test_lira_orders_as_its_tail_probability() -> None:
    random = np.random.default_rng(2)
    out, found = random.normal(0, 1, (4, 30)), random.normal(0.5, 1, 30)
    sigma = scorers.global_sigma(out)
    tail = 1 - stats.norm(out.mean(0), sigma).sf(found)
    assert np.allclose(stats.norm.cdf(scorers.lira_offline(found, out, sigma)), tail)
    assert sigma**2 == pytest.approx(np.mean([np.var(column, ddof=1) for column in out.T]))
    assert scorers.global_sigma(out[:1]) == 1.0


def test_rmia_counts_the_population_it_beats() -> None:
    random = np.random.default_rng(3)
    found, others = random.normal(1, 1, 8), random.normal(0, 1, 12)
    out_found, out_others = random.normal(0, 1, (3, 8)), random.normal(0, 1, (3, 12))

    def ratio(phi: float, out: Any, a: float = 0.3) -> float:
        p_out = np.mean(1 / (1 + np.exp(-out)))
        return (1 / (1 + math.exp(-phi))) / (0.5 * (p_out + a * p_out + 1 - a))

    x = [ratio(found[i], out_found[:, i]) for i in range(8)]
    z = [ratio(others[j], out_others[:, j]) for j in range(12)]
    assert np.allclose(scorers.rmia_ratio(found, out_found, 0.3), x)
    for gamma in (1.0, 1.2):
        wanted = [np.mean([xi / zj >= gamma for zj in z]) for xi in x]
        assert np.allclose(scorers.rmia_scores(np.array(x), np.array(z), gamma, own=False), wanted)
        own = [np.mean([zi / z[j] >= gamma for j in range(12) if j != i]) for i, zi in enumerate(z)]
        assert np.allclose(scorers.rmia_scores(np.array(z), np.array(z), gamma, own=True), own)


GRID = (0.0, 0.25, 0.5, 0.75, 1.0)


def test_the_fitted_a_is_the_best_of_the_grid_by_an_auc_counted_by_hand() -> None:
    random = np.random.default_rng(8)
    margins = (
        random.normal(1, 2, 25),
        random.normal(0, 2, 30),
        random.normal(0, 2, (3, 25)),
        random.normal(0, 2, (3, 30)),
    )

    def counted(a: float) -> float:
        members, others = scorers.rmia_offline(*margins, a, 1.0)
        return float(np.mean([(m > o) + 0.5 * (m == o) for m in members for o in others]))

    best = max(GRID, key=counted)
    assert counted(best) > min(counted(a) for a in GRID)
    assert scorers.fit_rmia_a(*margins, GRID, 1.0) == best


def test_the_fitted_a_is_one_for_hard_members_and_zero_where_a_quotient_misleads() -> None:
    """At a = 1 the ratio is p/p_out, which finds members that OUT models find hard; at 0 nearly p alone."""
    ones = np.ones(20)
    hard_members = (-1.0 * ones, 2.0 * ones, np.stack([-4.0 * ones]), np.stack([2.0 * ones]))
    assert scorers.fit_rmia_a(*hard_members, (0.0, 1.0), 1.0) == 1.0
    misled = (3.0 * ones, -4.0 * ones, np.stack([0.0 * ones]), np.stack([-6.0 * ones]))
    assert scorers.fit_rmia_a(*misled, (0.0, 1.0), 1.0) == 0.0


def test_a_fitted_where_members_are_no_members_wins_nothing_elsewhere() -> None:
    """Under the null the best a of the grid must not lift the AUC on examples it was not fitted on."""
    random = np.random.default_rng(9)
    areas = []
    for _ in range(100):
        out, phi = random.normal(0, 2, (3, 90)), random.normal(0, 2, 90)
        a = scorers.fit_rmia_a(phi[:30], phi[60:], out[:, :30], out[:, 60:], GRID, 1.0)
        found = scorers.rmia_offline(phi[30:60], phi[60:], out[:, 30:60], out[:, 60:], a, 1.0)
        areas.append(auc_with_limits(*found).value)
    assert abs(np.mean(areas) - 0.5) < 4 * np.std(areas) / 10


def test_centre_margin_is_the_gap_between_two_distances() -> None:
    features = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(20) % 4
    centres = class_centres(features, labels, 5)
    assert not torch.isfinite(centres[4]).any()
    found = centre_margins(features, labels, centres)
    for x, y, margin in zip(features.double(), labels, found, strict=True):
        distance = [float((x - features[labels == k].double().mean(0)).norm()) for k in range(4)]
        rival = min(d for k, d in enumerate(distance) if k != y)
        assert float(margin) == pytest.approx(rival - distance[y])


# --- a world of memorised samples --------------------------------------------------------------------------


def mislabelled(examples: Examples, seed: int) -> Examples:
    shift = torch.from_numpy(generator(seed, "wrong labels").integers(1, 10, len(examples)))
    return dataclasses.replace(examples, labels=(examples.labels + shift) % 10)


def joined(first: Examples, second: Examples) -> Examples:
    return Examples(raw=torch.cat([first.raw, second.raw]), labels=torch.cat([first.labels, second.labels]))


def relabelled(original: nn.Module, wrong: Examples, true: Examples, retain: Examples, *, head_only: bool) -> nn.Module:
    """Fine-tune until forget examples get their true label: the head alone, or every layer."""
    net = copy.deepcopy(original)
    mixed = joined(dataclasses.replace(wrong, labels=true.labels), retain)
    trained, inputs = (net.head, features(net, mixed)) if head_only else (net, mixed.inputs)
    optimiser = torch.optim.Adam(trained.parameters(), lr=1e-2 if head_only else 1e-3)
    for _ in range(150 if head_only else 40):
        optimiser.zero_grad()
        nn.functional.cross_entropy(trained(inputs), mixed.labels).backward()
        optimiser.step()
    return net.eval()


def features(net: nn.Module, examples: Examples) -> Tensor:
    with torch.no_grad():
        found: Tensor = net.hidden(net.convolutions(examples.inputs).flatten(1))
    return found


def ascended(original: nn.Module, wrong: Examples, retain: Examples) -> nn.Module:
    """Climb the forget loss by the head alone while descending the retain loss."""
    net = copy.deepcopy(original)
    forget, kept = features(net, wrong), features(net, retain)
    optimiser = torch.optim.Adam(net.head.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(net.head(kept), retain.labels)
        (loss - 0.1 * nn.functional.cross_entropy(net.head(forget), wrong.labels)).backward()
        optimiser.step()
    return net.eval()


def pushed_below_unseen(start: nn.Module, wrong: Examples, anchors: Examples) -> nn.Module:
    """Climb the forget loss in every layer while the logits of retained and unseen examples stay."""
    net = copy.deepcopy(start)
    wanted = start(anchors.inputs).detach()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(60):
        optimiser.zero_grad()
        kept = (net(anchors.inputs) - wanted).square().mean()
        (kept - 3 * nn.functional.cross_entropy(net(wrong.inputs), wrong.labels)).backward()
        optimiser.step()
    return net.eval()


def sample_world(*, wrong_labels: bool) -> World:
    train_set, test_set = digits()
    n = 200 if wrong_labels else 400
    true, retain = train_set.take(torch.arange(60)), train_set.take(torch.arange(60, n))
    holdout = test_set.take(torch.arange(100))
    forget = mislabelled(true, 1) if wrong_labels else true
    attack, evaluation = split_in_halves(forget, seed=0)
    data = AuditData(
        request="sample",
        classes=(),
        n_classes=10,
        forget_attack=attack,
        forget_eval=evaluation,
        retain=retain,
        holdout=mislabelled(holdout, 2) if wrong_labels else holdout,
    )
    # Small batches, for noise has to be learned by heart.
    recipe = RECIPE.model_copy(update={"epochs": 40, "batch_size": 20}) if wrong_labels else RECIPE
    original = training.train(DigitsNet, joined(forget, retain), recipe, 1)
    modules = {"original": original}
    modules |= {name: training.train(DigitsNet, retain, recipe, 10 + i) for i, name in enumerate(REFERENCES)}
    if wrong_labels:
        modules["retrain"] = training.train(DigitsNet, retain, recipe, 2)
        modules["head relabelled"] = relabelled(original, forget, true, retain, head_only=True)
        modules["relabelled"] = relabelled(original, forget, true, retain, head_only=False)
        modules["head ascended"] = ascended(original, forget, retain)
        unseen = mislabelled(test_set.take(torch.arange(100, 200)), 3)
        modules["pushed below unseen"] = pushed_below_unseen(modules["retrain"], forget, joined(retain, unseen))
    return World(data=data, layout=find_layout(original, retain.inputs[:16]), modules=modules)


@pytest.fixture(scope="module")
def memorised() -> World:
    return sample_world(wrong_labels=True)


@pytest.fixture(scope="module")
def plain() -> World:
    return sample_world(wrong_labels=False)


def scored(check: Check, world: World) -> Scores:
    artefact = check.prepare(world.subject("original"), world.data, SETTINGS, 0)
    return {name: check.score(world.subject(name), artefact, world.data, SETTINGS, 0) for name in world.modules}


@pytest.fixture(scope="module")
def scores(memorised: World) -> dict[str, Scores]:
    """Of every memorised model, by check."""
    return {check.name: scored(check, memorised) for check in CHECKS}


def evidence(check: Check, scores: Scores, name: str) -> tuple[statistics.Limits | None, float | None]:
    """Limits of ρ of one model, and the resolution."""
    chosen = check.choose(scores["original"], [scores[r] for r in REFERENCES])
    totals = {model: score.total(chosen) for model, score in scores.items()}
    null = [totals[r] for r in REFERENCES]
    spread = statistics.pooled_spread(null, floor=1 / scores["original"].n_examples)
    assert spread is not None
    d, delta = totals[name] - float(np.mean(null)), totals["original"] - float(np.mean(null))
    return statistics.fieller(d, delta, spread), statistics.resolution(delta, spread)


def test_the_world_is_what_it_is_called(memorised: World) -> None:
    def right(name: str) -> float:
        return float(memorised.subject(name).recording("forget_eval").correct.double().mean())

    assert right("original") > 0.8
    assert max(map(right, (*REFERENCES, "retrain", "head relabelled", "relabelled", "head ascended"))) < 0.2


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_retrain_without_memorised_samples_clears(scores: dict[str, Scores], check: Check) -> None:
    limits, resolution = evidence(check, scores[check.name], "retrain")
    assert resolution is not None
    assert resolution <= 0.35
    assert limits is not None
    assert limits.low > -0.75
    assert limits.high < 0.5


@pytest.mark.parametrize("name", ["head relabelled", "relabelled", "head ascended"])
def test_features_betray_what_outputs_deny(scores: dict[str, Scores], name: str) -> None:
    limits, _ = evidence(FeatureMembership(), scores["feature_membership"], name)
    assert limits is not None
    assert limits.low > 0.25


@pytest.mark.parametrize("name", ["head relabelled", "relabelled"])
def test_margins_betray_relabelling_though_every_answer_changed(
    memorised: World, scores: dict[str, Scores], name: str
) -> None:
    recording = memorised.subject(name).recording("forget_eval")
    assert recording.correct.float().mean() < 0.1
    limits, _ = evidence(Membership(), scores["membership"], name)
    assert limits is not None
    assert limits.low > 0.25


def test_ascent_by_the_head_takes_unseen_examples_down_too_and_hides_nothing(
    memorised: World, scores: dict[str, Scores]
) -> None:
    original, head_ascended = (memorised.subject(name) for name in ("original", "head ascended"))
    for split in ("forget_eval", "holdout"):
        assert head_ascended.recording(split).margins.mean() < original.recording(split).margins.mean() - 20
    limits, _ = evidence(Membership(), scores["membership"], "head ascended")
    assert limits is not None
    assert limits.low > 0.25


def test_a_model_pushed_below_unseen_examples_shows_as_less_known(scores: dict[str, Scores]) -> None:
    limits, _ = evidence(Membership(), scores["membership"], "pushed below unseen")
    assert limits is not None
    assert limits.low < -0.75


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_ordinary_samples_leave_no_power(plain: World, check: Check) -> None:
    _, resolution = evidence(check, scored(check, plain), "original")
    assert resolution is None or resolution > 0.35


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_internal_null_tells_the_original_from_a_retrain(scores: dict[str, Scores], check: Check) -> None:
    found = scores[check.name]
    chosen = check.choose(found["original"], [])
    delta = found["original"].total(chosen) - float(np.mean(found["original"].null))
    p = {
        name: statistics.p_internal_null(score.total(chosen), delta, score.null, tau=0.0)
        for name, score in found.items()
    }
    assert p["original"] == 1 / (1 + SETTINGS.n_permutations)
    assert p["retrain"] > 0.05


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_class_request_is_served(world: World, check: Check) -> None:
    subject = world.subject("original")
    score = check.score(subject, check.prepare(subject, world.data, SETTINGS, 0), world.data, SETTINGS, 0)
    assert score.n_examples == len(world.data.forget_eval)
    assert len(score.readings["margin"].examples) == score.n_examples
    assert score.readings["margin"].value == pytest.approx(np.mean(score.readings["margin"].examples))


def test_the_original_does_not_need_the_shared_margin_reading(memorised: World) -> None:
    subject = memorised.subject("original")
    score = Membership().score(subject, None, memorised.data, SETTINGS, 0)
    logits = subject.logits(memorised.data.forget_eval).double().softmax(1)
    p = logits[torch.arange(len(logits)), memorised.data.forget_eval.labels]
    holdout = subject.recording("holdout").margins.mean()
    assert score.total(("margin",)) == pytest.approx(float(torch.logit(p).mean() - holdout), rel=1e-3)


# --- invariance, cost, curves ------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [-3.0, 3.0])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_rescaled_units_change_nothing(memorised: World, check: Check, exponent: float) -> None:
    original, pairs = memorised.modules["original"], memorised.layout.pairs
    units = [original.get_submodule(pair.producer).weight.shape[0] for pair in pairs]
    factors = [2.0 ** (exponent * torch.linspace(-1, 1, n)) for n in units]
    evaded = memorised.subject("evaded", rescaled(original, pairs, factors))
    found = [
        check.score(subject, None, memorised.data, SETTINGS, 0).readings["margin"].value
        for subject in (memorised.subject("original"), evaded)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-3)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_permuted_units_change_nothing(memorised: World, check: Check) -> None:
    net = permuted(memorised.modules["original"])
    found = [
        check.score(subject, None, memorised.data, SETTINGS, 0).readings["margin"].value
        for subject in (memorised.subject("original"), memorised.subject("permuted", net))
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_units_silent_on_retain_are_left_out(memorised: World) -> None:
    net = copy.deepcopy(memorised.modules["original"])
    with torch.no_grad():
        net.hidden[4].weight[:4] = 0
        net.hidden[4].bias[:4] = -1
    score = FeatureMembership().score(memorised.subject("silent", net), None, memorised.data, SETTINGS, 0)
    assert math.isfinite(score.total(("margin",)))


@pytest.mark.parametrize(
    ("check", "splits"),
    [
        (Membership(), ("forget_eval", "holdout", "forget_attack")),
        (FeatureMembership(), ("forget_eval", "holdout", "retain", "forget_attack")),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_no_pass_beyond_the_shared_recording(memorised: World, check: Check, splits: tuple[str, ...]) -> None:
    subject = memorised.subject("original")
    for split in splits:
        subject.recording(split)
    recorded = subject.passes.examples
    assert recorded == sum(len(memorised.data.splits()[split]) for split in splits)
    artefact = check.prepare(subject, memorised.data, SETTINGS, 0)
    assert check.score(subject, artefact, memorised.data, SETTINGS, 0) == check.score(
        subject, artefact, memorised.data, SETTINGS, 0
    )
    assert subject.passes.examples == recorded
    assert check.workload(memorised.data, SETTINGS, 6) == Workload()


def fitted_a(memorised: World) -> float:
    """RMIA's a from the original's attack half against holdout, the references being OUT."""

    def read(name: str, split: str) -> scorers.Array:
        return memorised.subject(name).recording(split).margins.numpy()

    margins = [read("original", split) for split in ("forget_attack", "holdout")]
    out = [np.stack([read(name, split) for name in REFERENCES]) for split in ("forget_attack", "holdout")]
    return scorers.fit_rmia_a(*margins, *out, [i / 10 for i in range(11)], 1.0)


def test_curves_and_figures_of_every_model(memorised: World, scores: dict[str, Scores]) -> None:
    found = scores["membership"]
    cells, controls = Membership().summarise(found, REFERENCES)
    assert {(row["model"], row["attack"]) for row in cells} == {
        (name, attack) for name in found for attack in ("loss", "LiRA offline", "RMIA offline")
    }
    original, retrain = controls["original"], controls["retrain"]
    for attack in ("loss", "LiRA offline", "RMIA offline"):
        assert original[f"{attack} AUC low"] > retrain[f"{attack} AUC high"]
        assert original[f"{attack} FPR"] <= 0.1
        assert original[f"{attack} TPR"] > retrain[f"{attack} TPR"]
    assert original["RMIA a"] == fitted_a(memorised)
    out = [memorised.subject(name).recording("forget_eval").margins.numpy() for name in REFERENCES[1:]]
    out_others = [memorised.subject(name).recording("holdout").margins.numpy() for name in REFERENCES[1:]]
    first = memorised.subject("reference 0")
    own = first.recording("forget_eval").margins.numpy() - np.mean(out, axis=0)
    others = first.recording("holdout").margins.numpy() - np.mean(out_others, axis=0)
    assert controls["reference 0"]["LiRA offline AUC"] == pytest.approx(auc_with_limits(own, others).value)


def test_without_references_only_the_loss_attack_is_drawn(scores: dict[str, Scores]) -> None:
    cells, _ = Membership().summarise({"original": scores["membership"]["original"]}, ())
    assert {row["attack"] for row in cells} == {"loss"}


# --- the baseline that sees no model -----------------------------------------------------------------------


def test_blind_baseline_is_at_chance_on_one_distribution(scores: dict[str, Scores]) -> None:
    score = scores["membership"]["original"]
    assert score.controls["void without references"] == 0.0
    assert len(score.null) == SETTINGS.n_permutations
    assert score.notes == ()


@pytest.mark.parametrize(
    "shift",
    [
        lambda holdout: dataclasses.replace(holdout, raw=(holdout.raw * 0.8)),
        lambda holdout: holdout.take(holdout.labels < 5),
        lambda holdout: dataclasses.replace(holdout, labels=digits()[1].labels[:100]),
    ],
    ids=["darker", "other classes", "rightly labelled"],
)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_shifted_holdout_is_caught(memorised: World, check: Check, shift: Callable[[Examples], Examples]) -> None:
    assert memorised.data.holdout is not None
    data = dataclasses.replace(memorised.data, holdout=shift(memorised.data.holdout))
    shifted = dataclasses.replace(memorised, data=data)
    artefact = check.prepare(shifted.subject("original"), data, SETTINGS, 0)
    score = check.score(shifted.subject("original"), artefact, data, SETTINGS, 0)
    assert score.controls["void without references"] == 1.0
    assert score.null == ()
    assert any("differ without any model" in note for note in score.notes)


def test_blind_baseline_rejects_seldom_under_its_null() -> None:
    random = np.random.default_rng(5)
    retain = (random.normal(size=(200, 6)), random.integers(0, 3, 200))
    voids = []
    for seed in range(30):
        sides = [(random.normal(size=(n, 6)), random.integers(0, 3, n)) for n in (40, 60)]
        area = scorers.blind_auc(sides[0], sides[1], retain, seed)
        assert area is not None
        voids.append(area.low > 0.5)
    # Nominally 5 %; more than 6 of 30 would have probability .001.
    assert sum(voids) <= 6


def test_blind_baseline_says_when_it_cannot_tell(memorised: World) -> None:
    assert memorised.data.holdout is not None
    data = dataclasses.replace(memorised.data, holdout=memorised.data.holdout.take(torch.arange(5)))
    assert Membership().prepare(memorised.subject("original"), data, SETTINGS, 0) is None
    small = dataclasses.replace(memorised, data=data)
    score = Membership().score(small.subject("original"), None, data, SETTINGS, 0)
    assert score.null == ()
    assert "Too few" in score.notes[0]


def test_large_images_are_averaged_before_the_baseline() -> None:
    random = torch.Generator().manual_seed(0)

    def images(n: int) -> Examples:
        raw = (torch.rand(n, 3, 20, 12, generator=random) * 255).to(torch.uint8)
        return Examples(raw=raw, labels=torch.arange(n) % 2)

    data = AuditData(
        request="sample",
        classes=(),
        n_classes=2,
        forget_attack=images(10),
        forget_eval=images(10),
        retain=images(30),
        holdout=images(20),
    )
    area = Membership().prepare(None, data, SETTINGS, 0)  # type: ignore[arg-type]
    assert area is not None
    assert area.low <= 0.5


# --- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_no_holdout_is_said_plainly(memorised: World, check: Check) -> None:
    data = dataclasses.replace(memorised.data, holdout=None)
    with pytest.raises(UsageError, match=r"needs holdout examples .* add --holdout"):
        check.prepare(memorised.subject("original"), data, SETTINGS, 0)
    with pytest.raises(UsageError, match=r"needs holdout examples .* add --holdout"):
        check.score(memorised.subject("original"), None, data, SETTINGS, 0)


def test_a_single_forget_example_is_refused(memorised: World) -> None:
    data = dataclasses.replace(memorised.data, forget_eval=memorised.data.forget_eval.take(torch.arange(1)))
    with pytest.raises(UsageError, match=r"at least 2 forget examples .* there are 1 and 100"):
        Membership().score(memorised.subject("original"), None, data, SETTINGS, 0)


def test_a_label_without_any_centre_is_named(world: World) -> None:
    others = world.data.forget_attack.take(torch.arange(0))
    data = dataclasses.replace(world.data, forget_attack=others)
    bare = dataclasses.replace(world, data=data)
    with pytest.raises(UsageError, match="none of class 3; add some to retain"):
        FeatureMembership().score(bare.subject("original"), None, data, SETTINGS, 0)


@pytest.mark.parametrize("unit", [0, 5])
def test_one_unit_at_a_huge_scale_hides_nothing(memorised: World, unit: int) -> None:
    """The head's column is divided by what the unit is multiplied by: the same function."""
    net, factor = copy.deepcopy(memorised.modules["original"]), 2.0**26
    with torch.no_grad():
        net.hidden[4].weight[unit] *= factor
        net.hidden[4].bias[unit] *= factor
        net.head.weight[:, unit] /= factor
    plain, evading = (
        FeatureMembership().score(subject, None, memorised.data, SETTINGS, 0).total(("margin",))
        for subject in (memorised.subject("original"), memorised.subject("evading", net))
    )
    assert evading == pytest.approx(plain, rel=1e-3)
