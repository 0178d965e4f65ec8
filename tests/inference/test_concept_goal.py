"""Goal concept: is the forgotten concept, on this very model, one more of those that no model was trained on?"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import auditor
from auditor.checks import registry
from auditor.errors import DataError
from auditor.inference.compared import CheckScores, Comparison, Question
from auditor.inference.nulls import control_concepts
from auditor.inference.statistics import Spread, fieller, p_above, resolution
from auditor.records.policy import load_policy
from auditor.records.score import Reading, Score
from auditor.tasks.classification.sets import Examples
from tests import concept_world
from tests.concept_world import CONTROLS, FORGET, GENTLE, TRAINED, examples

POLICY = load_policy("default")
CHECKS = ("few_shot", "relearning")
PRIMARIES = (*CHECKS, "slow_relearning")
N_REFERENCES = 5


# The null, on numbers


def score(value: float, controls: list[float]) -> Score:
    reading = Reading(value=value, concepts=tuple(controls))
    return Score(check="few_shot", readings={"it": reading}, n_examples=1000)


def held(unlearned: Score, original: Score, goal: str = "concept", **decoys: Score) -> Comparison | None:
    scores = CheckScores(original=original, unlearned=unlearned, references={}, drawn={}, perturbed={}, decoys=decoys)
    check = registry.load("few_shot", "classification")
    asked = Question(
        check=check,
        scores=scores,
        chosen=("it",),
        policy=POLICY,
        population=False,
        goal=goal,
        prior=None,
        seed=0,
        by_chance=False,
    )
    return control_concepts.compare(asked)


def test_rho_its_limits_and_the_resolution_follow_the_formula() -> None:
    own, bar = [0.1, 0.2, 0.3, 0.2, 0.1, 0.3, 0.2, 0.25, 0.15, 0.2], [0.3, 0.4, 0.5, 0.4] * 3
    found = held(score(0.4, own), score(0.9, bar), same=score(0.9, bar), cannot_clear_because=score(0.2, own))
    assert found is not None
    s = float(np.std(own, ddof=1))
    spread = Spread(value=s, degrees=9, n_references=10)
    wanted = fieller(0.4 - 0.2, 0.9 - 0.4, spread)
    assert found.limits is not None
    assert wanted is not None
    assert (found.limits.low, found.limits.high) == pytest.approx((wanted.low, wanted.high))
    assert found.null == pytest.approx(0.2)
    assert found.p_value == pytest.approx(p_above(0.2, 0.5, spread, 0.25 + POLICY.thresholds.tolerance))
    at_original = Spread(value=float(np.std(bar, ddof=1)), degrees=11, n_references=12)
    assert found.resolution == pytest.approx(resolution(0.5, at_original))
    assert {name: decoy.detected for name, decoy in found.decoys.items()} == {
        "same": True,
        "cannot_clear_because": False,
    }


def test_an_original_that_does_not_stand_above_its_controls_gives_no_interval() -> None:
    found = held(score(0.4, [0.1, 0.2] * 5), score(0.3, [0.3, 0.4] * 5))
    assert found is not None
    assert (found.limits, found.resolution, found.p_value) == (None, None, None)


def test_too_few_controls_or_another_goal_are_no_null() -> None:
    many, few = [0.1, 0.2] * 5, [0.1, 0.2] * 4
    assert held(score(0.4, few), score(0.9, few)) is None
    assert held(score(0.4, many), score(0.9, many), goal="data") is None


def test_a_concept_that_is_one_more_of_the_controls_is_covered_as_often_as_stated() -> None:
    random = np.random.default_rng(0)
    n, above, below = 2000, 0, 0
    original = score(1.0, [0.2, 0.3] * 5)
    for _ in range(n):
        values = random.normal(0.25, 0.05, 11).tolist()
        found = held(score(values[0], values[1:]), original)
        assert found is not None
        limits = found.limits
        assert limits is not None
        above += limits.low > 0
        below += limits.high < 0
    # 5 % on either side, within four standard errors.
    assert abs(above / n - 0.05) < 0.02
    assert abs(below / n - 0.05) < 0.02


# Two worlds: features that come from pretraining on the concept, and features that do not


@pytest.fixture(scope="module")
def inherited() -> dict[str, nn.Module]:
    """Original and all retrains start from one network pretrained on the concept too."""
    start = concept_world.trained(concept_world.everything(), 100)
    retain = concept_world.retain()
    models = {"original": concept_world.trained(concept_world.everything(), 1, GENTLE, start)}
    models |= {f"r{i}": concept_world.trained(retain, 20 + i, GENTLE, start) for i in range(N_REFERENCES)}
    return {**models, "retrain": concept_world.trained(retain, 50, GENTLE, start)}


@pytest.fixture(scope="module")
def fresh() -> dict[str, nn.Module]:
    """Original and all retrains start from fresh weights."""
    retain = concept_world.retain()
    models = {"original": concept_world.trained(concept_world.everything(), 2)}
    models |= {f"r{i}": concept_world.trained(retain, 30 + i) for i in range(N_REFERENCES)}
    return {**models, "retrain": concept_world.trained(retain, 60)}


def audit(
    models: dict[str, nn.Module],
    folder: Path,
    *,
    goal: str,
    control: Examples | None,
    subject: str = "retrain",
    checks: tuple[str, ...] = CHECKS,
) -> Any:
    return auditor.compare(
        models["original"],
        models[subject],
        forget=examples([FORGET]),
        retain=concept_world.retain(),
        control=control,
        references=[models[f"r{i}"] for i in range(N_REFERENCES)],
        options={"audit": {"checks": checks, "store": str(folder)}, "request": {"goal": goal}},
        out=folder / "out",
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.mark.slow
def test_a_retrain_that_inherits_the_concept_is_not_accused_by_goal_data_and_fails_goal_concept(
    inherited: dict[str, nn.Module], store: Path
) -> None:
    by_data = audit(inherited, store, goal="data", control=concept_world.controls())
    # Against references that inherit the concept too there is nothing to hold against it, and little to see by.
    assert by_data.outcome != "SUPPRESSED"
    for check in CHECKS:
        assert by_data.evidence(check).null_kind == "references"
        assert by_data.evidence(check).rho.value < 0.25
    by_concept = audit(inherited, store, goal="concept", control=concept_world.controls())
    assert by_concept.outcome == "SUPPRESSED"
    found = by_concept.evidence("few_shot")
    assert found.null_kind == "controls"
    assert found.spread.n_references == CONTROLS
    assert found.rho.low > 0.25
    assert found.rho_by_references == by_data.evidence("few_shot").rho
    assert any(reason.startswith("few_shot") for reason in by_concept.results.verdict.sentences)
    page = (store / "out" / "report.html").read_text()
    assert "never-trained control concepts" in page
    assert "one more control concept" in page


@pytest.mark.slow
def test_a_retrain_from_fresh_weights_passes_both_goals(fresh: dict[str, nn.Module], store: Path) -> None:
    for goal in ("data", "concept"):
        found = audit(fresh, store, goal=goal, control=concept_world.controls(), checks=PRIMARIES)
        assert found.outcome == "DELETED", found.results.verdict.sentences
        assert found.results.plan.feasibility.deleted_in_reach


@pytest.mark.slow
def test_a_suppressed_concept_fails_goal_concept(fresh: dict[str, nn.Module], store: Path) -> None:
    shut = concept_world.shut(fresh["original"])
    found = audit({**fresh, "shut": shut}, store, goal="concept", control=concept_world.controls(), subject="shut")
    assert found.outcome == "SUPPRESSED"
    assert found.evidence("few_shot").rho.value == pytest.approx(1.0)


@pytest.mark.parametrize("n", [0, 9])
def test_fewer_than_ten_control_concepts_decide_nothing_and_the_plan_says_so(
    fresh: dict[str, nn.Module], store: Path, n: int
) -> None:
    few = examples(range(TRAINED, TRAINED + n)) if n else None
    found = audit(fresh, store, goal="concept", control=few)
    assert found.outcome == "INCONCLUSIVE"
    assert found.evidence("few_shot").null_kind == "references"
    assert not found.results.plan.feasibility.deleted_in_reach
    wanted = f"10 or more never-trained control concepts with 4 examples or more each, and there are {n}: data.control"
    assert any(wanted in wish for wish in found.results.verdict.to_decide)


def test_concepts_with_too_few_examples_do_not_count(fresh: dict[str, nn.Module], store: Path) -> None:
    full = concept_world.controls()
    one_each = torch.arange(0, len(full), concept_world.PER_CLASS)
    rest = torch.nonzero(full.labels < TRAINED + 5)[:, 0]
    thin = full.take(torch.cat([rest, one_each[5:]]))
    assert "there are 5" in " ".join(audit(fresh, store, goal="concept", control=thin).results.verdict.to_decide)


def test_a_control_example_that_was_trained_on_is_left_out_and_named(fresh: dict[str, nn.Module], store: Path) -> None:
    leaked = concept_world.controls()
    retain = concept_world.retain()
    raw = leaked.raw.clone()
    raw[:3] = retain.raw[:3]
    found = audit(fresh, store, goal="concept", control=Examples(raw=raw, labels=leaked.labels))
    assert any("3 examples of control are identical to examples of retain" in n for n in found.results.plan.notes)


def test_a_negative_control_label_is_refused(fresh: dict[str, nn.Module], store: Path) -> None:
    bad = concept_world.controls()
    labels = bad.labels.clone()
    labels[0] = -1
    with pytest.raises(DataError, match="control: label -1"):
        audit(fresh, store, goal="concept", control=Examples(raw=bad.raw, labels=labels))
