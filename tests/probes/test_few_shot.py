"""few_shot: the formula, its null, and what it sees."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from auditor.errors import UsageError
from auditor.models.canonical import rescaled
from auditor.probes.few_shot.images import FewShot, Settings, log_rank
from auditor.records.score import Score
from auditor.tasks.classification.sets import Examples
from auditor.tasks.classification.subject import Classifier
from tests.worlds import World

SETTINGS = Settings()
SEED = 4


def total(score: Score) -> float:
    return score.total(tuple(score.readings))


def measure(world: World, name: str, module: nn.Module | None = None) -> Score:
    return FewShot().score(world.subject(name, module), None, world.data, SETTINGS, SEED)


@pytest.fixture(scope="module")
def scores(world: World) -> dict[str, Score]:
    names = ("original", "retrain", "own initial weights", "head_row_zeroed", *(f"reference {i}" for i in range(5)))
    return {name: measure(world, name) for name in names}


def rho(scores: dict[str, Score], name: str) -> float:
    null = np.mean([total(scores[f"reference {i}"]) for i in range(5)])
    return float((total(scores[name]) - null) / (total(scores["original"]) - null))


def test_it_sees_through_a_shut_head_and_not_in_a_retrain(scores: dict[str, Score]) -> None:
    assert rho(scores, "head_row_zeroed") == pytest.approx(1.0)
    assert abs(rho(scores, "retrain")) < 0.4
    assert rho(scores, "own initial weights") < 0.4


def test_the_gap_is_wide_against_the_references(scores: dict[str, Score]) -> None:
    references = [total(scores[f"reference {i}"]) for i in range(5)]
    assert (total(scores["original"]) - np.mean(references)) / np.std(references, ddof=1) > 5


@given(st.lists(st.integers(0, 20), min_size=1, max_size=20), st.lists(st.integers(0, 20), min_size=1, max_size=20))
def test_log_rank_by_its_definition(forget: list[int], retain: list[int]) -> None:
    f, r = np.array(forget, dtype=float), np.array(retain, dtype=float)
    for value, found in zip(f, log_rank(f, r), strict=True):
        above = np.sum(r > value) + 0.5 * np.sum(r == value)
        assert found == pytest.approx(-np.log((1 + above) / (len(r) + 1)) / np.log(len(r) + 1), abs=1e-12)
        assert -1e-12 <= found <= 1 + 1e-12


def test_log_rank_under_its_null_is_that_of_a_uniform_rank() -> None:
    random = np.random.default_rng(0)
    n = 200
    found = [log_rank(random.standard_normal(50), random.standard_normal(n)).mean() for _ in range(200)]
    expected = np.mean([-np.log(k / (n + 1)) for k in range(1, n + 2)]) / np.log(n + 1)
    assert np.mean(found) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("exponent", [-3.0, 3.0])
def test_rescaled_units_change_nothing(world: World, scores: dict[str, Score], exponent: float) -> None:
    original, pairs = world.modules["original"], world.layout.pairs
    units = [original.get_submodule(p.producer).weight.shape[0] for p in pairs]
    evaded = rescaled(original, pairs, [2.0 ** (exponent * torch.linspace(-1, 1, n)) for n in units])
    assert total(measure(world, "original", evaded)) == pytest.approx(total(scores["original"]), abs=1e-4)


def test_permuted_units_change_nothing(world: World, scores: dict[str, Score]) -> None:
    import copy

    net = copy.deepcopy(world.modules["original"])
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        net.hidden[4].weight.copy_(net.hidden[4].weight[order])
        net.hidden[4].bias.copy_(net.hidden[4].bias[order])
        net.head.weight.copy_(net.head.weight[:, order])
    assert total(measure(world, "original", net)) == pytest.approx(total(scores["original"]), abs=1e-6)


def test_units_that_never_move_are_left_out(world: World) -> None:
    import copy

    net = copy.deepcopy(world.modules["original"])
    with torch.no_grad():
        net.hidden[4].weight[:8] = 0
        net.hidden[4].bias[:8] = 0.5
    found = measure(world, "original", net)
    assert all(np.isfinite(reading.value) for reading in found.readings.values())


def test_examples_average_to_the_value(scores: dict[str, Score]) -> None:
    for reading in scores["original"].readings.values():
        assert np.mean(reading.examples) == pytest.approx(reading.value)
        assert len(reading.examples) == scores["original"].n_examples


def test_it_costs_nothing_beyond_the_recordings(world: World) -> None:
    subject = world.subject("original")
    FewShot().score(subject, None, world.data, SETTINGS, SEED)
    splits = world.data.splits()
    recorded = sum(len(splits[name]) for name in ("retain", "forget_attack", "forget_eval"))
    assert subject.passes.examples == recorded


def test_the_figure_holds_every_probe_and_shot(scores: dict[str, Score]) -> None:
    rows = scores["original"].rows
    assert {row["probe"] for row in rows} == {"centre", "linear", "k-NN"}
    assert {row["shots"] for row in rows} == set(SETTINGS.shots)
    assert all(0 <= float(row["value"]) <= 1 for row in rows)


def test_a_network_without_vector_layers_gets_a_sentence(world: World) -> None:
    subject = world.subject("original")
    subject.vector_layers = lambda: ()  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="one vector per example"):
        FewShot().score(subject, None, world.data, SETTINGS, SEED)


def test_each_of_several_classes_is_looked_for_by_its_own_examples(world: World) -> None:
    """Two forgotten classes score the mean of each alone: examples of one never stand in for the other."""
    import dataclasses

    from auditor.tasks.classification.sets import AuditData, split_in_halves

    retain = world.data.retain
    parts = {label: split_in_halves(retain.take(retain.labels == label), seed=0) for label in (1, 7)}
    rest = retain.take((retain.labels != 1) & (retain.labels != 7))

    def data(*labels: int) -> AuditData:
        halves = [
            Examples(
                raw=torch.cat([parts[label][side].raw for label in labels]),
                labels=torch.cat([parts[label][side].labels for label in labels]),
            )
            for side in (0, 1)
        ]
        return dataclasses.replace(
            world.data, classes=labels, forget_attack=halves[0], forget_eval=halves[1], retain=rest
        )

    def reading(*labels: int) -> tuple[float, int]:
        net = world.modules["original"]
        subject = Classifier(net, role="x", digest="x", layout=world.layout, data=data(*labels))
        # One draw of every attack example, so that the draws do not depend on how many classes there are; z-scoring
        # does, slightly, through the attack examples.
        settings = Settings(draws=1000, figure_draws=1)
        score = FewShot().score(subject, None, data(*labels), settings, SEED)
        return total(score), score.n_examples

    (one, n_one), (seven, n_seven), (both, n_both) = reading(1), reading(7), reading(1, 7)
    assert n_both == n_one + n_seven
    assert both == pytest.approx((n_one * one + n_seven * seven) / n_both, abs=0.03)
