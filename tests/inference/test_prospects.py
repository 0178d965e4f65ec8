"""What each road would bring if the original were like those measured: the numbers behind it, and the sentences."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from auditor.cli import show
from auditor.inference.measured_gaps import MEASURED, Gaps
from auditor.inference.roads import pass_by_holdout, pass_by_references, resolution_of
from auditor.inference.statistics import Spread, pass_probability, resolution
from auditor.records.plan import Plan, PlannedAssignment, PlannedCheck
from auditor.records.policy import load_policy
from auditor.records.prospect import Prospect
from auditor.records.road import Road
from auditor.reports import roads as sentences
from auditor.run.estimate import Estimate
from auditor.run.prospects import prospects
from auditor.run.roads import clearing_of
from tests import made_records
from tests.documented_world import blocks

MEASURED_ROWS = Path(__file__).parents[2] / "benchmarks" / "validity" / "measured"
POLICY = load_policy("default")
CLEARING = clearing_of(POLICY)
FREE = Estimate(seconds=1.0, memory_bytes=0, disk_bytes=0)
Row = Mapping[str, Any]


def rows(folder: str) -> list[Row]:
    found: list[Row] = json.loads((MEASURED_ROWS / folder / "rows.json").read_text())
    return found


def gaps(of: Iterable[Row], unit: Callable[[Row], float]) -> set[tuple[object, ...]]:
    """Of each original by check: what its resolution makes of them, which is the same in all of its audits."""
    return as_set(
        {name: round(unit(row) / row["checks"][name]["w"], 2) for name in row["checks"] if counts(row, name)}
        for row in of
    )


def counts(row: Row, name: str) -> bool:
    return name in CANDIDATES[row["request"]] and bool(row["checks"][name]["w"])


def as_set(originals: Iterable[Gaps]) -> set[tuple[object, ...]]:
    return {tuple(sorted(own.items())) for own in originals}


CANDIDATES = {
    request: {name for names in POLICY.primaries[request].values() for name in names} for request in ("facts", "sample")
}
FIVE = resolution(1.0, Spread(value=1.0, degrees=4, n_references=5)) or 0.0


class TestTheNumbersAreThoseOfTheRows:
    @pytest.mark.parametrize(("kind", "road"), [("alone", "nothing"), ("helped", "one cheap reference")])
    def test_facts_held_out(self, kind: str, road: str) -> None:
        audits = [row for row in rows("assigned") if row["road"] == road]
        found = gaps(audits, lambda _: resolution_of(1, 20, 20, helped=kind == "helped"))
        assert as_set(getattr(MEASURED["facts"], kind)) == found

    @pytest.mark.parametrize(("kind", "references"), [("alone", 0), ("helped", 1)])
    def test_samples_held_out(self, kind: str, references: int) -> None:
        audits = [{**row, "request": "sample"} for row in rows("assigned-samples") if row["references"] == references]
        unit = lambda row: resolution_of(1, row["n"], row["m"], helped=references > 0)  # noqa: E731
        assert as_set(getattr(MEASURED["sample"], kind)) == gaps(audits, unit)

    @pytest.mark.parametrize("request_kind", ["facts", "sample"])
    def test_references(self, request_kind: str) -> None:
        audits = [row for row in rows("pairs/study") if row["request"] == request_kind]
        found = gaps(audits, lambda _: FIVE)
        assert as_set(MEASURED[request_kind].references) == found


def plan(request: str = "facts", *, n: int = 40, m: int = 40, n_references: int = 0, **changes: Any) -> Plan:
    names = ["outputs", *CANDIDATES[request]]
    checks = tuple(
        PlannedCheck(
            name=name, role="evidence", provider="x 1", family="x", may="clear", primary_for="x", settings={}, seed=0
        )
        for name in sorted(names)
    )
    given: dict[str, Any] = {
        "checks": checks,
        "assignment": PlannedAssignment(kind="random", n_forget=n, n_holdout=m),
    }
    return made_records.plan(n_references=n_references, request=request, **{**given, **changes})


def found_of(made: Plan) -> tuple[Prospect, ...]:
    found = prospects(made)
    assert found is not None
    return found.found


class TestProspects:
    def test_three_roads_by_hand(self) -> None:
        alone, helped, by_references = found_of(plan())
        # Four by their representation check, two by their attack.
        w = sorted(resolution_of(gap, 40, 40, helped=False) for gap in (4.64, 2.81, 3.24, 3.22, 0.68, 1.59))
        assert (alone.resolution.low, alone.resolution.high) == (w[0], w[-1])
        assert alone.resolution.median == pytest.approx((w[2] + w[3]) / 2)
        assert alone.pass_probability.low == pass_by_holdout(40, 40, [3.14, 0.68], CLEARING, helped=False)
        assert (helped.models, helped.originals, alone.originals) == (1, 6, 6)
        assert helped.resolution.median < alone.resolution.median
        assert (by_references.models, by_references.originals) == (5, 6)
        assert by_references.resolution.high == pytest.approx(FIVE / 11.33)

    def test_what_was_said_came_about(self) -> None:
        """20 subjects a side: of the 30 models never taught in three worlds 28 passed, and none of 14 in the others."""
        audits = [row for row in rows("assigned") if row["road"] == "nothing" and row["label"] == "deleted"]
        passed = {
            low_rank: [row["outcome"] == "DELETED" for row in audits if ("low rank" in row["original"]) == low_rank]
            for low_rank in (False, True)
        }
        assert {low: (sum(all_of), len(all_of)) for low, all_of in passed.items()} == {False: (28, 30), True: (0, 14)}
        wide = [pass_by_holdout(20, 20, pair, CLEARING, helped=False) for pair in ([15.53, 4.64], [12.90, 2.81])]
        # 28 of 30 lie within two standard errors of what the formulas say of those three.
        assert all(abs(chance - 28 / 30) < 2 * (chance * (1 - chance) / 30) ** 0.5 for chance in wide)
        # Of the others the road says less than it found: decoys and other checks stood in the way, too.
        assert found_of(plan(n=20, m=20))[0].pass_probability.low < 0.1

    def test_more_subjects_help_the_holdout_and_no_reference(self) -> None:
        few, many = found_of(plan(n=20, m=20)), found_of(plan(n=100, m=100))
        for before, after in zip(few[:2], many[:2], strict=True):
            assert after.resolution.median < before.resolution.median
            assert after.pass_probability.low > before.pass_probability.low
        assert few[2] == many[2]

    def test_models_that_are_there_are_counted(self) -> None:
        _, helped, by_references = found_of(plan(n_references=8))
        assert (helped.models, by_references.models) == (8, 8)
        assert by_references.resolution.median < found_of(plan())[2].resolution.median

    def test_only_planned_checks_count(self) -> None:
        made = plan()
        without = made.model_copy(update={"checks": tuple(c for c in made.checks if c.name != "logit_lens")})
        assert found_of(without)[0].resolution.low > found_of(made)[0].resolution.low
        # A family without a check cannot clear, and the plan says so elsewhere.
        no_attack = made.model_copy(update={"checks": tuple(c for c in made.checks if c.name != "relearning")})
        assert prospects(no_attack) is None

    def test_of_a_declaration_nothing_was_measured(self) -> None:
        declared = PlannedAssignment(kind="declared-exchangeable", declared_by="A", n_forget=40, n_holdout=40)
        assert [road.null for road in found_of(plan(assignment=declared))] == ["references"]

    def test_two_subjects_leave_no_road_of_the_holdout(self) -> None:
        assert [road.null for road in found_of(plan(n=2, m=2))] == ["references"]

    @pytest.mark.parametrize(("request_kind", "n", "m"), [("facts", 20, 20), ("sample", 20, 80)])
    def test_without_a_draw_it_is_as_if_there_had_been_one(self, request_kind: str, n: int, m: int) -> None:
        found = prospects(plan(request_kind, assignment=None))
        assert found is not None
        assert (found.divided.n_forget, found.divided.n_holdout) == (n, m)
        assert found.found == found_of(plan(request_kind, n=n, m=m))

    @pytest.mark.parametrize("changes", [{"request": "class"}, {"goal": "concept"}])
    def test_other_requests_have_no_such_road(self, changes: dict[str, str]) -> None:
        assert prospects(plan().model_copy(update=changes)) is None

    def test_it_is_the_same_twice(self) -> None:
        assert prospects(plan()) == prospects(plan())


def test_passing_by_references_of_one_gap_is_the_known_simulation() -> None:
    for k, gap in ((3, 10.0), (5, 8.6)):
        assert pass_by_references(k, [gap], CLEARING) == pass_probability(k, gap, n_primaries=1, clearing=CLEARING)
    # Two primaries at half of the level each, as the simulation of both together has it.
    both = pass_probability(5, 8.6, n_primaries=2, clearing=CLEARING)
    assert pass_by_references(5, [8.6, 8.6], CLEARING) == pytest.approx(both, abs=0.03)
    assert pass_by_references(5, [8.6, 0.5], CLEARING) < 0.01


def shown(made: Plan, capsys: pytest.CaptureFixture[str], measured: tuple[Road, ...] = ()) -> list[str]:
    show.plan(made, FREE, measured, prospects(made))
    return capsys.readouterr().out.splitlines()


class TestDryRun:
    def test_it_says_what_is_assumed_and_then_each_road(self, capsys: pytest.CaptureFixture[str]) -> None:
        said = [line for line in shown(plan(), capsys) if line.startswith("  expected: ")]
        assert "Nothing of this original is measured yet" in said[0]
        assert "docs/validity.md" in said[0]
        assert [line.partition(": ")[2].partition(":")[0] for line in said[1:]] == [
            "With 40 holdout subjects and no other model",
            "With 40 holdout subjects and 1 model that saw neither",
            "With 5 references",
        ]

    def test_what_is_measured_takes_its_place(self, capsys: pytest.CaptureFixture[str]) -> None:
        road = Road(null="holdout", models=0, basis="measured", resolution=0.2, pass_probability=0.9)
        said = shown(plan(), capsys, (road,))
        assert not any(line.startswith("  expected: ") for line in said)
        assert any(line.startswith("  beforehand: ") for line in said)

    def test_a_closed_road_is_called_closed(self, capsys: pytest.CaptureFixture[str]) -> None:
        closed = "the road of the holdout is closed"
        assert any(line.startswith(closed) for line in shown(plan(assignment=None), capsys))
        assert not any(line.startswith(closed) for line in shown(plan(), capsys))
        other = made_records.plan(request="class")
        assert not any(line.startswith(closed) for line in shown(other, capsys))

    def test_a_declaration_says_that_nothing_was_measured_of_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        declared = PlannedAssignment(kind="declared-exchangeable", declared_by="A", n_forget=40, n_holdout=40)
        said = " ".join(shown(plan(assignment=declared), capsys))
        assert "what a declared division brings was measured on none of them" in said

    def test_the_page_shows_these_sentences(self) -> None:
        found = prospects(plan())
        assert found is not None
        (page,) = [text for _, text in blocks("docs/what-do-i-need.md") if "6 originals" in text]
        assert page.strip().splitlines() == list(sentences.expected(found))[1:]
