"""relearning: what comes back in a model that hides, and does not in one that never knew."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from auditor.attacks.relearning.drawn import AttackRange
from auditor.attacks.relearning.image_attack import apart, few_of_each, row_reset
from auditor.attacks.relearning.images import Relearning, Settings
from auditor.checks.check import Workload
from auditor.models.canonical import rescaled
from auditor.records.score import Score
from auditor.tasks.classification.decoys.gradient_ascent import Settings as AscentSettings
from auditor.tasks.classification.decoys.gradient_ascent import gradient_ascent
from auditor.zoo.digits_net import DigitsNet
from tests.worlds import FORGET, World

SETTINGS = Settings(control_classes=0)
TODAY = AttackRange(
    steps=(4, 4), shots=(4, 4), learning_rate=(1e-3, 1e-3), momentum=(0.9, 0.9), forget_share=(0.25, 0.25)
)
SEED = 2


def measure(world: World, name: str, module: nn.Module | None = None, settings: Settings = SETTINGS) -> Score:
    return Relearning().score(world.subject(name, module), {}, world.data, settings, SEED)


REFERENCES = tuple(f"reference {i}" for i in range(5))


@pytest.fixture(scope="module")
def scores(world: World) -> dict[str, Score]:
    return {name: measure(world, name) for name in ("original", "retrain", "own initial weights", *REFERENCES)}


def total(scores: dict[str, Score], score: Score) -> float:
    rescaled = Relearning().rescale(scores["original"], [scores[name] for name in REFERENCES])(score)
    return rescaled.total(tuple(rescaled.readings))


def rho(scores: dict[str, Score], score: Score) -> float:
    null = np.mean([total(scores, scores[name]) for name in REFERENCES])
    return float((total(scores, score) - null) / (total(scores, scores["original"]) - null))


def values(score: Score) -> list[float]:
    return [reading.value for reading in score.readings.values()]


def test_a_retrain_does_not_relearn_fast(scores: dict[str, Score]) -> None:
    assert abs(rho(scores, scores["retrain"])) < 0.25
    assert rho(scores, scores["own initial weights"]) < 0.4


def test_a_shut_head_is_opened_by_the_reset_alone(world: World, scores: dict[str, Score]) -> None:
    shut = measure(world, "head_row_zeroed")
    by_reset = {name: reading.value for name, reading in shut.readings.items() if name.startswith("row reset")}
    assert by_reset == pytest.approx({name: scores["original"].readings[name].value for name in by_reset}, abs=1e-6)
    assert rho(scores, shut) == pytest.approx(1.0, abs=0.02)
    arms = Relearning().rescale(scores["original"], [scores[name] for name in REFERENCES])(shut).controls
    assert {"ρ by as is alone", "ρ by row reset alone"} <= set(arms)
    assert sum(value > 0.9 for name, value in arms.items() if name.startswith("ρ by")) == 1


def test_gradient_ascent_is_relearned(world: World, scores: dict[str, Score]) -> None:
    forget = world.data.forget_attack
    subject = gradient_ascent(world.modules["original"], forget, world.data.retain, AscentSettings(), seed=0)
    assert rho(scores, measure(world, "ascent", subject)) > 0.5


@pytest.mark.parametrize("name", ["retrain", "original"])
def test_rescaled_units_change_nothing(world: World, scores: dict[str, Score], name: str) -> None:
    module, pairs = world.modules[name], world.layout.pairs
    units = [module.get_submodule(p.producer).weight.shape[0] for p in pairs]
    evaded = rescaled(module, pairs, [2.0 ** (3 * torch.linspace(-1, 1, n)) for n in units])
    assert values(measure(world, name, evaded)) == pytest.approx(values(scores[name]), abs=5e-3)


def test_freezing_its_layers_protects_no_model(world: World, scores: dict[str, Score]) -> None:
    frozen = copy.deepcopy(world.modules["original"]).requires_grad_(False)
    assert values(measure(world, "original", frozen)) == values(scores["original"])


def test_permuted_units_change_nothing(world: World, scores: dict[str, Score]) -> None:
    net = copy.deepcopy(world.modules["retrain"])
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        net.hidden[4].weight.copy_(net.hidden[4].weight[order])
        net.hidden[4].bias.copy_(net.hidden[4].bias[order])
        net.head.weight.copy_(net.head.weight[:, order])
    assert values(measure(world, "retrain", net)) == pytest.approx(values(scores["retrain"]), abs=5e-3)


def test_without_the_canonical_form_rescaling_would_evade(world: World, scores: dict[str, Score]) -> None:
    """The defence is needed: the same attack on the bare weights moves."""
    module, pairs = world.modules["retrain"], world.layout.pairs
    units = [module.get_submodule(p.producer).weight.shape[0] for p in pairs]
    evaded = world.subject("x", rescaled(module, pairs, [2.0 ** (3 * torch.linspace(-1, 1, n)) for n in units]))
    evaded.canonical = evaded.clone  # type: ignore[method-assign]
    bare = Relearning().score(evaded, {}, world.data, SETTINGS, SEED)
    assert max(abs(a - b) for a, b in zip(values(bare), values(scores["retrain"]), strict=True)) > 0.05


def test_the_subject_itself_stays_as_it_was(world: World) -> None:
    subject = world.subject("original")
    before = {name: value.clone() for name, value in subject.weights().items()}
    Relearning().score(subject, {}, world.data, SETTINGS, SEED)
    assert all(torch.equal(before[name], value) for name, value in subject.weights().items())


def test_the_same_seed_gives_the_same_score(world: World, scores: dict[str, Score]) -> None:
    assert measure(world, "retrain") == scores["retrain"]


def test_the_row_reset_opens_a_shut_head(world: World) -> None:
    reset = row_reset(world.subject("head_row_zeroed"), torch.tensor([FORGET]))
    assert reset is not None
    head = reset.head()
    assert head is not None
    others = [c for c in range(10) if c != FORGET]
    bias = head.bias.detach()
    assert float(bias[FORGET]) == pytest.approx(float(bias[others].mean()))
    assert not head.weight[FORGET].any()


def test_a_few_of_each_label() -> None:
    labels = torch.tensor([0, 1, 0, 1, 1, 0, 2])
    picks = few_of_each(labels, 2, np.random.default_rng(0).permutation)
    assert sorted(labels[picks].tolist()) == [0, 0, 1, 1, 2]


def test_shots_and_the_examples_that_choose_are_apart(world: World) -> None:
    attack = world.data.forget_attack
    shots, aside = apart(attack, 512, seed=1)
    assert not set(shots.content_hashes) & set(aside.content_hashes)
    assert sorted([*shots.content_hashes, *aside.content_hashes]) == sorted(attack.content_hashes)
    assert len(apart(attack, 5, seed=1)[1]) == 5
    lone = attack.take(torch.arange(1))
    assert [len(part) for part in apart(lone, 5, seed=1)] == [1, 0]


def test_the_stated_workload_is_what_it_costs(world: World) -> None:
    settings = Settings(drawn=TODAY, points=(0.5, 1.0), control_classes=1, out_of_domain=0.5)
    subject = world.subject("original")
    Relearning().score(subject, {}, world.data, settings, SEED)
    stated = Relearning().workload(world.data, settings, 6)
    assert isinstance(stated, Workload)
    assert subject.passes.examples == pytest.approx(stated.forward + stated.training, rel=0.1)


def test_plasticity_and_retain_alone_are_drawn_and_not_counted(world: World, scores: dict[str, Score]) -> None:
    full = measure(world, "retrain", settings=Settings(control_classes=1, out_of_domain=0.5))
    assert full.readings == scores["retrain"].readings
    arms = {str(row["arm"]) for row in full.rows}
    assert arms == {"as is", "row reset", "retain alone", next(a for a in arms if a.startswith("control"))}


def test_what_was_drawn_is_recorded_and_the_same_for_every_model(scores: dict[str, Score]) -> None:
    drawn = Settings().drawn.draw(3, SEED)
    columns = tuple(drawn[0].model_fields_set)
    for score in scores.values():
        found = {tuple(row[c] for c in columns) for row in score.rows}
        assert found == {tuple(attack.model_dump()[c] for c in columns) for attack in drawn}
        assert (
            score.effort
            == f"up to {max(a.steps for a in drawn)} steps on {max(a.shots for a in drawn)} examples a class"
        )


def test_another_seed_makes_other_attacks(world: World, scores: dict[str, Score]) -> None:
    other = Relearning().score(world.subject("retrain"), {}, world.data, SETTINGS, SEED + 1)
    assert other.rows != scores["retrain"].rows


def test_only_the_withstanding_model_is_blind(world: World, scores: dict[str, Score]) -> None:
    """A network whose weights hardly move under the attack, though it computes what a retrain computes."""

    class Stiff(DigitsNet):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            y = super().forward(images)
            return y.detach() + 1e-12 * (y - y.detach())

    stiff_net = Stiff()
    stiff_net.load_state_dict(world.modules["retrain"].state_dict())
    rescale = Relearning().rescale(scores["original"], [scores[name] for name in REFERENCES])
    stiff = rescale(measure(world, "stiff", stiff_net))
    assert stiff.cannot_clear_because is not None
    assert stiff.cannot_clear_because.startswith("the attack did not take as it does in the references")
    assert rescale(scores["retrain"]).cannot_clear_because is None
    assert rescale(scores["own initial weights"]).cannot_clear_because is None


def test_the_budget_is_drawn_for_every_model(scores: dict[str, Score]) -> None:
    rescale = Relearning().rescale(scores["original"], [scores[name] for name in REFERENCES])
    rows, _ = Relearning().summarise({name: rescale(score) for name, score in scores.items()}, REFERENCES)
    efforts = {row["effort"] for row in rows}
    assert len(efforts) >= 4
    for model in scores:
        assert {row["effort"] for row in rows if row["model"] == model} == efforts
    assert all(row["rho"] == pytest.approx(1.0) for row in rows if row["model"] == "original")
    assert abs(np.mean([row["rho"] for row in rows if row["model"] in REFERENCES])) < 0.25
