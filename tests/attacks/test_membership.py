"""Membership in outputs and features against known truth, invariances, the baseline that sees no model, bad input."""

import copy
import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from auditor.attacks.feature_membership import FeatureMembership
from auditor.attacks.membership import scores as scorers
from auditor.attacks.membership.images import Membership
from auditor.attacks.membership.readings import MembershipSettings
from auditor.checks.check import Check, Workload
from auditor.errors import UsageError
from auditor.inference import statistics
from auditor.inference.auc import auc_with_limits
from auditor.models.canonical import rescaled
from auditor.records.score import Score
from auditor.tasks.classification.sets import AuditData, Examples
from tests.memorised_world import REFERENCES, memorised_samples, sample_world
from tests.probes.test_cka import permuted
from tests.worlds import World, digits

CHECKS = [Membership(), FeatureMembership()]
SETTINGS = MembershipSettings()
Scores = dict[str, Score]


@pytest.fixture(scope="module")
def memorised(tmp_path_factory: pytest.TempPathFactory) -> World:
    return memorised_samples(tmp_path_factory)


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
