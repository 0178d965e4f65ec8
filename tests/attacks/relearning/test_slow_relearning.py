"""slow_relearning: what learns slowly yields to a patient attack, and a retrain does not."""

import pytest
import torch
from torch import nn

from auditor.attacks.relearning.images import Relearning
from auditor.attacks.slow_relearning.images import SlowRelearning
from auditor.checks.check import Check, Workload
from auditor.inference.combine import combine
from auditor.inference.compared import CheckScores
from auditor.records.evidence import Evidence
from auditor.records.policy import load_policy
from auditor.records.score import Score
from auditor.zoo.digits_net import DigitsNet
from tests.made_records import NULLS
from tests.worlds import FORGET, World

SEED = 2
POLICY = load_policy("default")
REFERENCES = tuple(f"reference {i}" for i in range(5))
NAMES = ("original", "retrain", "own initial weights", *REFERENCES)


class Stiff(DigitsNet):
    """Computes what the network computes, and learns a tenth as fast: its gradients are small beside Adam's ε."""

    scale = 2e-8

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = super().forward(images)
        return logits.detach() + self.scale * (logits - logits.detach())


def stiff(module: nn.Module) -> Stiff:
    net = Stiff()
    net.load_state_dict(module.state_dict())
    return net.eval()


def measure(check: Check, world: World, module: nn.Module | None, name: str) -> Score:
    settings = check.settings_type.model_validate({"control_classes": 0})
    return check.score(world.subject(name, module), {}, world.data, settings, SEED)


def evidence(check: Check, scores: dict[str, Score], unlearned: Score) -> Evidence:
    lineup = CheckScores(
        original=scores["original"],
        unlearned=unlearned,
        references={name: scores[name] for name in REFERENCES},
        drawn={},
        perturbed={},
        decoys={},
    )
    return combine(check, lineup, POLICY, NULLS, population=True)


@pytest.fixture(scope="module")
def resistant(world: World) -> nn.Module:
    """The original with the forgotten class shut off by its bias alone, made slow to learn."""
    net = stiff(world.modules["original"])
    with torch.no_grad():
        net.head.bias[FORGET] -= 20
    return net


@pytest.fixture(scope="module")
def scores(world: World) -> dict[str, Score]:
    return {name: measure(SlowRelearning(), world, None, name) for name in NAMES}


def test_it_finds_what_learns_slowly(world: World, scores: dict[str, Score], resistant: nn.Module) -> None:
    found = evidence(SlowRelearning(), scores, measure(SlowRelearning(), world, resistant, "unlearned"))
    assert found.rho is not None
    assert found.rho.value > 0.4
    assert found.p_trace is not None
    assert found.p_trace < 0.0133, "the hardest step of the three primaries"


@pytest.mark.parametrize("name", ["retrain", "own initial weights"])
def test_a_retrain_does_not(scores: dict[str, Score], name: str) -> None:
    found = evidence(SlowRelearning(), scores, scores[name])
    assert found.p_value is not None
    assert found.p_value > 0.1


def test_the_whole_course_counts_on_the_model_as_it_is(scores: dict[str, Score]) -> None:
    rescale = SlowRelearning().rescale(scores["original"], [scores[name] for name in REFERENCES])
    (label,) = rescale(scores["retrain"]).readings
    assert label == "as is"


def test_the_budget_has_four_efforts_in_and_out_of_domain(scores: dict[str, Score]) -> None:
    rows, _ = SlowRelearning().summarise(scores, REFERENCES)
    for domain in ("in domain", "out of domain"):
        assert len({row["effort"] for row in rows if row["domain"] == domain}) >= 4, domain


def test_the_stated_workload_is_what_it_costs(world: World) -> None:
    check, subject = SlowRelearning(), world.subject("original")
    settings = check.settings_type()
    drawn = settings.drawn.model_copy(update={"steps": (8, 8), "shots": (2, 2)})
    settings = settings.model_copy(update={"drawn": drawn})
    check.score(subject, {}, world.data, settings, SEED)
    stated = check.workload(world.data, settings, 6)
    assert isinstance(stated, Workload)
    assert subject.passes.examples == pytest.approx(stated.forward + stated.training, rel=0.1)


def test_one_attack_that_taught_it_shows_that_it_can_be_taught() -> None:
    check, n = SlowRelearning(), 60
    assert check.taught([0.1, 0.95, 0.1], n) == check.taught([0.95], n)
    assert Relearning().taught([0.1, 0.95, 0.1], n) < check.taught([0.1, 0.95, 0.1], n)
