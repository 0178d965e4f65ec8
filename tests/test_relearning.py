"""relearning: what comes back in a model that hides, and does not in one that never knew."""

import numpy as np
import pytest
import torch
from torch import nn

from auditor.attacks.relearning import Relearning, Settings, _few_of_each, _row_reset
from auditor.check import Workload
from auditor.scores import Score
from auditor.subjects.canonical import rescaled
from auditor.zoo.gradient_ascent import Settings as AscentSettings
from auditor.zoo.gradient_ascent import gradient_ascent
from tests.worlds import FORGET, World

SETTINGS = Settings(other_rates=(), control_classes=0)
SEED = 2


def measure(world: World, name: str, module: nn.Module | None = None, settings: Settings = SETTINGS) -> Score:
    return Relearning().score(world.subject(name, module), None, world.data, settings, SEED)


def total(score: Score) -> float:
    return score.total(tuple(score.readings))


@pytest.fixture(scope="module")
def scores(world: World) -> dict[str, Score]:
    names = ("original", "retrain", "own initial weights", *(f"reference {i}" for i in range(3)))
    return {name: measure(world, name) for name in names}


def rho(scores: dict[str, Score], score: Score) -> float:
    null = np.mean([total(scores[f"reference {i}"]) for i in range(3)])
    return float((total(score) - null) / (total(scores["original"]) - null))


def test_a_retrain_does_not_relearn_fast(scores: dict[str, Score]) -> None:
    assert abs(rho(scores, scores["retrain"])) < 0.25
    assert rho(scores, scores["own initial weights"]) < 0.4
    assert total(scores["original"]) > 0.8


def test_gradient_ascent_is_relearned(world: World, scores: dict[str, Score]) -> None:
    forget = world.data.forget_attack
    subject = gradient_ascent(world.modules["original"], forget, world.data.retain, AscentSettings(), seed=0)
    assert rho(scores, measure(world, "ascent", subject)) > 0.5


@pytest.mark.parametrize("name", ["retrain", "original"])
def test_rescaled_units_change_nothing(world: World, scores: dict[str, Score], name: str) -> None:
    module, pairs = world.modules[name], world.layout.pairs
    units = [module.get_submodule(p.producer).weight.shape[0] for p in pairs]
    evaded = rescaled(module, pairs, [2.0 ** (3 * torch.linspace(-1, 1, n)) for n in units])
    assert total(measure(world, name, evaded)) == pytest.approx(total(scores[name]), abs=2e-3)


def test_without_the_canonical_form_rescaling_would_evade(world: World, scores: dict[str, Score]) -> None:
    """The defence is needed: the same attack on the bare weights moves."""
    module, pairs = world.modules["retrain"], world.layout.pairs
    units = [module.get_submodule(p.producer).weight.shape[0] for p in pairs]
    evaded = world.subject("x", rescaled(module, pairs, [2.0 ** (3 * torch.linspace(-1, 1, n)) for n in units]))
    evaded.canonical = evaded.clone  # type: ignore[method-assign]
    bare = Relearning().score(evaded, None, world.data, SETTINGS, SEED)
    assert abs(total(bare) - total(scores["retrain"])) > 0.05


def test_the_subject_itself_stays_as_it_was(world: World) -> None:
    subject = world.subject("original")
    before = {name: value.clone() for name, value in subject.weights().items()}
    Relearning().score(subject, None, world.data, SETTINGS, SEED)
    assert all(torch.equal(before[name], value) for name, value in subject.weights().items())


def test_the_same_seed_gives_the_same_score(world: World, scores: dict[str, Score]) -> None:
    assert measure(world, "retrain") == scores["retrain"]


def test_the_row_reset_opens_a_shut_head(world: World) -> None:
    reset = _row_reset(world.subject("head_row_zeroed"), torch.tensor([FORGET]))
    assert reset is not None
    head = reset.head()
    assert head is not None
    others = [c for c in range(10) if c != FORGET]
    bias = head.bias.detach()
    assert float(bias[FORGET]) == pytest.approx(float(bias[others].mean()))
    assert not head.weight[FORGET].any()


def test_a_few_of_each_label() -> None:
    labels = torch.tensor([0, 1, 0, 1, 1, 0, 2])
    picks = _few_of_each(labels, 2, np.random.default_rng(0).permutation)
    assert sorted(labels[picks].tolist()) == [0, 0, 1, 1, 2]


def test_the_stated_workload_is_what_it_costs(world: World) -> None:
    settings = Settings(steps=4, measured=(2, 4), control_classes=1)
    subject = world.subject("original")
    canonical = min(512, len(world.data.retain))
    Relearning().score(subject, None, world.data, settings, SEED)
    stated = Relearning().workload(world.data, settings)
    assert isinstance(stated, Workload)
    assert subject.passes.examples == pytest.approx(stated.forward + stated.training + canonical, rel=0.1)


def test_plasticity_and_other_rates_are_drawn_and_not_counted(world: World, scores: dict[str, Score]) -> None:
    full = measure(world, "retrain", settings=Settings(control_classes=1, other_rates=(3e-3,)))
    assert total(full) == total(scores["retrain"])
    assert any(str(row["arm"]).startswith("control class") for row in full.cells)
    assert {row["learning_rate"] for row in full.cells} == {1e-3, 3e-3}
