"""relearning: what comes back in a model that hides, and does not in one that never knew."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from auditor.attacks.relearning import Relearning, Settings, _apart, _few_of_each, _row_reset
from auditor.check import Workload
from auditor.evidence import Lineup, combine
from auditor.policy import load_policy
from auditor.scores import Reading, Score
from auditor.subjects.canonical import rescaled
from auditor.zoo.gradient_ascent import Settings as AscentSettings
from auditor.zoo.gradient_ascent import gradient_ascent
from tests.worlds import FORGET, World

SETTINGS = Settings(other_rates=(), control_classes=0)
SEED = 2
POLICY = load_policy("default")


def measure(world: World, name: str, module: nn.Module | None = None, settings: Settings = SETTINGS) -> Score:
    return Relearning().score(world.subject(name, module), {}, world.data, settings, SEED)


REFERENCES = tuple(f"reference {i}" for i in range(3))


@pytest.fixture(scope="module")
def scores(world: World) -> dict[str, Score]:
    return {name: measure(world, name) for name in ("original", "retrain", "own initial weights", *REFERENCES)}


def total(scores: dict[str, Score], score: Score) -> float:
    settled = Relearning().settle(scores["original"], [scores[name] for name in REFERENCES])(score)
    return settled.total(tuple(settled.readings))


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
    assert rho(scores, shut) == pytest.approx(1.0, abs=0.02)
    arms = Relearning().settle(scores["original"], [scores[name] for name in REFERENCES])(shut).controls
    assert {name.split(",")[0] for name in arms} == {"ρ by as is", "ρ by row reset"}
    assert sum(value > 0.9 for value in arms.values()) == 1


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


def test_shots_and_the_examples_that_choose_are_apart(world: World) -> None:
    attack = world.data.forget_attack
    shots, aside = _apart(attack, 512, seed=1)
    assert not set(shots.content_hashes) & set(aside.content_hashes)
    assert sorted([*shots.content_hashes, *aside.content_hashes]) == sorted(attack.content_hashes)
    assert len(_apart(attack, 5, seed=1)[1]) == 5
    lone = attack.take(torch.arange(1))
    assert [len(part) for part in _apart(lone, 5, seed=1)] == [1, 0]


# What the attack half chooses

STEPS = (1, 2, 4, 8)


def curve(as_is: tuple[float, ...], row_reset: tuple[float, ...], choice: bool = True) -> Score:
    """A score with one number per arm and step, the same on both halves."""
    readings = {
        f"{arm}, step {step}": Reading(value=x, examples=(x, x), choice=x if choice else None)
        for arm, xs in (("as is", as_is), ("row reset", row_reset))
        for step, x in zip(STEPS, xs, strict=True)
    }
    return Score(check="relearning", readings=readings, n_examples=1000)


ORIGINAL = curve((1.0, 1.0, 1.0, 1.0), (0.1, 0.4, 0.8, 0.9))
# Five references; from the fourth measurement on they differ by a third of the gap.
NULL = [
    curve((0.0, 0.01, 0.02 + e, 0.3 + 9 * e), (0.0, 0.01 + e, 0.05 + e, 0.3 + 9 * e))
    for e in (-0.02, -0.01, 0, 0.01, 0.02)
]


def settled(score: Score, original: Score = ORIGINAL, references: list[Score] = NULL) -> Score:
    return Relearning().settle(original, references)(score)


BOTH = "as is, up to step 4 and row reset, up to step 4"


def test_each_arm_is_followed_as_long_as_the_references_withstand_it() -> None:
    assert list(settled(ORIGINAL).readings) == [BOTH]


def test_the_larger_arm_counts_on_the_scale_of_references_and_original() -> None:
    # Means of the first three steps: of the references .01 and .02, of the original 1 and 13/30.
    by_reset = settled(curve((0, 0, 0, 0), (0.02, 0.02, 0.64, 0))).total((BOTH,))
    as_it_is = settled(curve((0.505, 0.505, 0.505, 0), (0, 0, 0, 0))).total((BOTH,))
    gap = 13 / 30 - 0.02
    assert by_reset == pytest.approx((0.68 / 3 - 0.02) / gap * gap)
    assert as_it_is == pytest.approx(0.5 * gap)
    (reading,) = settled(ORIGINAL).readings.values()
    assert reading.value == pytest.approx(gap)
    assert np.mean(reading.examples) == pytest.approx(reading.value)


def test_an_arm_without_a_gap_is_left_out() -> None:
    faint = curve((1.0, 1.0, 1.0, 1.0), (0.0, 0.05, 0.1, 0.35))
    assert list(settled(faint, original=faint).readings) == ["as is, up to step 4"]


def test_where_no_step_is_wide_the_widest_is_taken() -> None:
    loose = [curve((e, 0.1 + 2 * e, 0.2 + 4 * e, 0.3 + 9 * e), (0, 0, 0, 0)) for e in (-0.1, 0.0, 0.1)]
    low = curve((0.8, 1.0, 1.0, 1.0), (0, 0, 0, 0))
    assert list(settled(low, original=low, references=loose).readings) == ["as is, up to step 1"]


def test_a_smaller_spread_later_does_not_decide() -> None:
    """Five references that happen to agree after step 8, having differed by .1 before, do not count as close."""
    lucky = [curve((0, 0, 0.3 + e, 0.35), (0, 0, 0, 0)) for e in (-0.1, 0.0, 0.1)]
    known = curve((0.5, 0.9, 1.0, 1.0), (0, 0, 0, 0))
    assert list(settled(known, original=known, references=lucky).readings) == ["as is, up to step 2"]


@pytest.mark.parametrize("references", [[], NULL[:1], [curve((0,) * 4, (0,) * 4, choice=False)] * 3])
def test_without_references_or_examples_to_choose_by_all_steps_count(references: list[Score]) -> None:
    found = settled(curve((0.0, 0.2, 0.4, 0.6), (0.1, 0.1, 0.1, 0.1)), references=references)
    assert {name: reading.value for name, reading in found.readings.items()} == {
        "larger arm, all steps": pytest.approx(0.3)
    }


def test_one_more_reference_is_accused_no_more_often_than_stated() -> None:
    """Under the null, though the scale, the step and the larger arm are all chosen with the references."""
    random = np.random.default_rng(0)
    above, below, n = 0, 0, 400
    for _ in range(n):
        noise = random.normal(0, 1, (6, 2, 1)) * np.array([0.005, 0.01, 0.02, 0.05])
        null = np.array([0.01, 0.05, 0.1, 0.3]) + noise
        models = [curve(tuple(as_is), tuple(reset)) for as_is, reset in null.tolist()]
        found = {f"r{i}": model for i, model in enumerate(models[1:])}
        lineup = Lineup(original=ORIGINAL, unlearned=models[0], references=found, drawn={}, perturbed={}, decoys={})
        evidence = combine(Relearning(), lineup, POLICY, population=False)
        assert evidence.rho is not None
        above += evidence.rho.low > 0
        below += evidence.rho.high < 0
    # 5 % on either side; four standard errors of a share of .05 in 400 are .044.
    assert above / n < 0.05 + 0.044
    assert below / n < 0.05 + 0.044


def test_a_retrain_that_comes_back_a_few_steps_sooner_than_five_references_is_not_accused() -> None:
    """Take-off times of 2^5 steps give or take a factor of 1.4: five references may all just withstand the attack."""
    random = np.random.default_rng(1)
    steps, n, accused = np.log2(STEPS), 400, 0

    def takes_off(at: float) -> Score:
        return curve(tuple((1 / (1 + np.exp(-8 * (steps - at)))).tolist()), (0.0,) * 4)

    known = curve((0.9, 1.0, 1.0, 1.0), (0.0,) * 4)
    for own, *others in (3.8 + 0.5 * random.standard_normal((n, 6))).tolist():
        lineup = Lineup(
            original=known,
            unlearned=takes_off(own),
            references={f"r{i}": takes_off(at) for i, at in enumerate(others)},
            drawn={},
            perturbed={},
            decoys={},
        )
        p = combine(Relearning(), lineup, POLICY, population=False).p_value
        accused += p is not None and p < 0.02
    # Read after the last step that the references withstand, 5 % were; four standard errors of .02 are .028.
    assert accused / n <= 0.02 + 0.028


def test_the_stated_workload_is_what_it_costs(world: World) -> None:
    settings = Settings(steps=4, measured=(2, 4), control_classes=1)
    subject = world.subject("original")
    canonical = 2 * min(512, len(world.data.retain))
    Relearning().score(subject, {}, world.data, settings, SEED)
    stated = Relearning().workload(world.data, settings)
    assert isinstance(stated, Workload)
    assert subject.passes.examples == pytest.approx(stated.forward + stated.training + canonical, rel=0.1)


def test_plasticity_and_other_rates_are_drawn_and_not_counted(world: World, scores: dict[str, Score]) -> None:
    full = measure(world, "retrain", settings=Settings(control_classes=1, other_rates=(3e-3,)))
    assert full.readings == scores["retrain"].readings
    assert any(str(row["arm"]).startswith("control class") for row in full.cells)
    assert {row["learning_rate"] for row in full.cells} == {1e-3, 3e-3}
