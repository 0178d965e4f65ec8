"""What each road would bring: formulas against simulated audits, sentences, and what is measured on the original."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import auditor
from auditor.inference.contrast import Contrast, Two, p_permutation
from auditor.inference.roads import gap_of, pass_by_holdout, resolution_of, subjects_needed
from auditor.inference.statistics import Clearing, pass_probability
from auditor.probes.outputs.images import Outputs
from auditor.records.plan import Plan, PlannedAssignment
from auditor.records.policy import load_policy
from auditor.records.results import Results
from auditor.records.road import Road
from auditor.records.score import Failure, Reading, Score, Sides
from auditor.records.spec import make_spec
from auditor.reports import roads as sentences
from auditor.run import roads
from auditor.run.preparing import prepare
from tests import made_records
from tests.documented_world import blocks
from tests.people_worlds import TextWorld

CLEARING = Clearing()
DIVIDED = PlannedAssignment(kind="random", n_forget=40, n_holdout=40)


def audited(random: np.random.Generator, n: int, gap: float, rho: float) -> bool:
    """One primary of one audit, by the statistics that audits use: whether it clears."""

    def model(taught: float) -> Two:
        x = random.standard_normal(2 * n)
        return Two(forget=x[:n] + taught, holdout=x[n:])

    found = Contrast(unlearned=model(rho * gap), original=model(gap), reference=None, floor=0.0)
    limits, w = found.limits(), found.resolution()
    if limits is None or w is None or not (w <= 0.5 and limits.high < 0.5 and limits.low > -0.75):
        return False
    above, below = p_permutation(found.unlearned, None, 999, random)
    return above > CLEARING.trace / 2 and below > CLEARING.deficit / 2


@pytest.mark.parametrize(("n", "gap", "rho"), [(20, 3.0, 0.0), (20, 1.5, 0.0), (40, 1.5, 0.3), (20, 3.0, 0.5)])
def test_it_passes_as_often_as_simulated_audits_do(n: int, gap: float, rho: float) -> None:
    random = np.random.default_rng(7)
    share = np.mean([audited(random, n, gap, rho) for _ in range(300)])
    # One of two primaries, at the level that it has of the family's.
    each = Clearing(trace=CLEARING.trace / 2, deficit=CLEARING.deficit / 2)
    said = pass_by_holdout(n, n, [gap], each, helped=False, rho=rho)
    # Three standard errors of 300 audits, and what tolerance and permutations differ by.
    assert said == pytest.approx(share, abs=3 * np.sqrt(max(said * (1 - said), 0.01) / 300) + 0.01)


def test_more_subjects_and_a_wider_gap_help() -> None:
    few, many = (pass_by_holdout(n, n, [1.5, 1.5], CLEARING, helped=False) for n in (20, 100))
    wide = pass_by_holdout(20, 20, [6.0, 6.0], CLEARING, helped=False)
    assert few < 0.5 < min(many, wide)


def test_without_a_gap_nothing_passes() -> None:
    assert pass_by_holdout(20, 20, [0.01], CLEARING, helped=False) == 0.0


def test_a_gap_and_its_resolution_are_inverse() -> None:
    for helped in (False, True):
        w = resolution_of(3.0, 20, 30, helped=helped)
        assert gap_of(w, 20, 30, helped=helped) == pytest.approx(3.0)


def test_the_number_of_subjects_is_the_smallest_that_will_do() -> None:
    n = subjects_needed(2.0, 0.35)
    assert n is not None
    assert resolution_of(2.0, n, n, helped=False) <= 0.35 < resolution_of(2.0, n - 1, n - 1, helped=False)
    assert subjects_needed(1e-3, 0.35) is None


def test_the_plan_says_what_would_follow_from_three_gaps_on_either_road() -> None:
    found = roads.assumed(DIVIDED, load_policy("default"), 2, n_references=0, n_neither=0)
    assert [(road.null, road.models, road.gap) for road in found] == [
        *(("holdout", models, gap) for models in (0, 1) for gap in roads.SUBJECT_GAPS),
        *(("references", roads.RECOMMENDED, gap) for gap in roads.GAPS),
    ]
    for plain, helped in zip(found[:3], found[3:6], strict=True):
        assert plain.resolution is not None
        assert helped.resolution is not None
        assert helped.resolution < plain.resolution
        assert helped.pass_probability >= plain.pass_probability - 0.02
    assert found[-1].pass_probability == pass_probability(5, 15.0, clearing=roads.clearing_of(load_policy("default")))


def test_the_pages_sentences_are_what_a_dry_run_says() -> None:
    found = roads.assumed(DIVIDED, load_policy("default"), 2, n_references=0, n_neither=0)
    said = [sentences.words(road, DIVIDED) for road in found]
    (page,) = [text for _, text in blocks("docs/what-do-i-need.md") if "3 spreads between subjects" in text]
    assert set(page.strip().splitlines()) == {said[1], said[6]}


def test_sentences() -> None:
    assumed = Road(
        null="holdout", models=1, basis="assumed", gap=3, resolution=0.14, pass_probability=0.95, subjects_needed=20
    )
    assert sentences.words(assumed, DIVIDED) == (
        "With 40 holdout subjects and 1 model that saw neither: resolution 0.14, and a true deletion passes the "
        "primaries with probability 0.95, if the original's forget subjects stand 3 spreads between subjects (half "
        "of their variance predicted) above its holdout subjects; 20 subjects on either side would do."
    )
    declared = PlannedAssignment(kind="declared-exchangeable", declared_by="A. Auditor", n_forget=40, n_holdout=40)
    assert sentences.words(assumed, declared).endswith(
        "; the limits are wider yet by what the reference will tell the sides apart by."
    )
    measured = Road(
        null="references",
        models=5,
        basis="measured",
        resolutions={"relearning": 0.1, "few_shot": 0.3},
        resolution=0.3,
        pass_probability=0.61,
    )
    assert sentences.words(measured, DIVIDED) == (
        "With 5 references: resolution 0.30 (relearning 0.10, few_shot 0.30), and a true deletion passes the primaries "
        "with probability 0.61."
    )
    half = Road(
        null="holdout", models=0, basis="measured", resolutions={"few_shot": 0.3}, resolution=None, pass_probability=0
    )
    assert "only few_shot tells the original from what it is held against" in sentences.words(half, DIVIDED)


@pytest.fixture(scope="module")
def request_of(text_world: TextWorld, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    world, store = text_world, tmp_path_factory.mktemp("roads") / "store"
    return {
        "original": world.modules["original"],
        "unlearned": world.modules["refusal"],
        "forget": world.people.forget,
        "retain": world.people.retain,
        "holdout": world.people.holdout,
        "tokenizer": world.encoder.tokenizer,
        "neither": [world.modules["reference 0"]],
        "options": {
            "assignment": {"kind": "random"},
            "audit": {"checks": ["few_shot", "relearning"], "store": str(store)},
        },
    }


@pytest.fixture(scope="module")
def measured(request_of: dict[str, Any]) -> Results:
    assert stored(request_of) == (), "nothing is scored yet"
    return auditor.compare(**request_of).results


@pytest.mark.slow
class TestMeasured:
    """On trained models: six people on either side, and one model that saw neither."""

    def test_roads_are_those_of_the_audit_and_a_dry_run_finds_them(
        self, measured: Results, request_of: dict[str, Any]
    ) -> None:
        alone, helped = measured.roads
        assert (alone.null, alone.models, helped.models) == ("holdout", 0, 1)
        assert set(helped.resolutions) == {choice.check for choice in measured.primaries}
        for choice in measured.primaries:
            assert helped.resolutions[choice.check] == choice.resolutions[choice.check]
        assert 0 <= helped.pass_probability <= 1
        assert stored(request_of) == measured.roads

    def test_another_unlearned_model_changes_no_road(
        self, measured: Results, request_of: dict[str, Any], text_world: TextWorld
    ) -> None:
        other = auditor.compare(**{**request_of, "unlearned": text_world.modules["retrain"]}).results
        assert other.roads == measured.roads

    def test_a_model_that_saw_neither_is_never_counted_among_references(self, measured: Results) -> None:
        assert [model.role for model in measured.plan.models].count("neither") == 1
        for e in measured.evidence:
            assert e.scores is None or (not e.scores.references and "neither 1" in e.scores.drawn)
        relearning = measured.of("relearning")
        assert relearning is not None
        assert all(row.slope is not None for row in relearning.contrast)


def stored(request_of: dict[str, Any]) -> tuple[Road, ...]:
    """What a dry run finds."""
    given = {name: value for name, value in request_of.items() if name != "options"}
    return roads.stored(prepare(make_spec({}, request_of["options"]), Path(), given).work)


def test_the_assumed_roads_need_three_subjects() -> None:
    two = PlannedAssignment(kind="random", n_forget=2, n_holdout=2)
    found = roads.assumed(two, load_policy("default"), 2, n_references=5, n_neither=0)
    assert {road.null for road in found} == {"references"}


class FewShot(Outputs):
    name = "few_shot"


class Relearning(Outputs):
    name = "relearning"


class TestOnNumbers:
    """Scores by hand: 30 subjects a side, five references."""

    CHECKS = (FewShot(), Relearning())
    N = 30

    def plan(self, *, n_references: int, kind: str = "random") -> Plan:
        by = "A. Auditor" if kind == "declared-exchangeable" else None
        divided = PlannedAssignment.model_validate(
            {"kind": kind, "declared_by": by, "n_forget": self.N, "n_holdout": self.N}
        )
        return made_records.plan(n_references=n_references, assignment=divided, request="facts")

    def scores(self, plan: Plan) -> dict[str, dict[str, Score | Failure]]:
        return {
            check.name: {
                model.name: self.score(model.role, 100 * i + j)
                for j, model in enumerate(plan.models)
                if model.role not in ("unlearned", "decoy")
            }
            for i, check in enumerate(self.CHECKS)
        }

    def score(self, role: str, luck: int) -> Score:
        x = np.random.default_rng(luck).normal(0.2, 0.1, 2 * self.N)
        x[: self.N] += 0.4 if role == "original" else 0.0
        both = Sides(forget=tuple(x[: self.N].tolist()), holdout=tuple(x[self.N :].tolist()))
        return Score(check="x", readings={"it": Reading(value=float(x[: self.N].mean()), sides=both)}, n_examples=120)

    def test_every_road_with_scores_is_said(self) -> None:
        plan = self.plan(n_references=5)
        alone, helped, by_references = roads.measured(plan, self.CHECKS, self.scores(plan))
        assert [(r.null, r.models) for r in (alone, helped, by_references)] == [
            ("holdout", 0),
            ("holdout", 5),
            ("references", 5),
        ]
        for road in (alone, helped, by_references):
            assert set(road.resolutions) == {"few_shot", "relearning"}
            assert road.resolution == max(road.resolutions.values())
        # By hand: w = t s_H √(2/n)/M of the original's own subjects.
        made = self.scores(plan)["few_shot"]["original"]
        assert isinstance(made, Score)
        both = made.sides(("it",))
        assert both is not None
        forget, holdout = np.array(both.forget), np.array(both.holdout)
        gap = (forget.mean() - holdout.mean()) / np.sqrt(holdout.var(ddof=1) + (self.N / 2) / 120**2)
        assert alone.resolutions["few_shot"] == pytest.approx(resolution_of(gap, self.N, self.N, helped=False))

    def test_the_unlearned_model_has_no_part(self) -> None:
        plan = self.plan(n_references=5)
        scores = self.scores(plan)
        with_it = {name: {**found, "unlearned": self.score("unlearned", 7)} for name, found in scores.items()}
        assert roads.measured(plan, self.CHECKS, with_it) == roads.measured(plan, self.CHECKS, scores)

    def test_a_declaration_alone_opens_no_road(self) -> None:
        for n_references, expected in ((0, []), (1, [("holdout", 1)]), (5, [("holdout", 5), ("references", 5)])):
            plan = self.plan(n_references=n_references, kind="declared-exchangeable")
            found = roads.measured(plan, self.CHECKS, self.scores(plan))
            assert [(road.null, road.models) for road in found] == expected

    def test_a_family_without_a_score_leaves_no_chance(self) -> None:
        plan = self.plan(n_references=0)
        scores = self.scores(plan)
        (found,) = roads.measured(plan, self.CHECKS, {"few_shot": scores["few_shot"]})
        assert (found.resolution, found.pass_probability, set(found.resolutions)) == (None, 0.0, {"few_shot"})
        assert roads.measured(plan, self.CHECKS, {}) == ()

    def test_without_an_assignment_nothing_is_said(self) -> None:
        plan = made_records.plan(n_references=5, request="facts")
        assert roads.measured(plan, self.CHECKS, self.scores(plan)) == ()
