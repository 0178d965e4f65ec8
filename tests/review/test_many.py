"""Several candidates of one original: one audit each over shared scores, and a ranking."""

import csv
import io
import json
from itertools import permutations
from pathlib import Path

import pytest

import auditor
from auditor.cli.compare import compare
from auditor.cli.typed import arguments_for, valued_options
from auditor.errors import ModelError, SpecError, UnsafeInputError
from auditor.records.events import Event, Unit
from auditor.records.evidence import Interval
from auditor.records.ranking import Candidate, Ranking
from auditor.reports.overview import render_overview
from auditor.reports.steps import over_steps
from auditor.review.ranking import candidate, folders, ranked, steps, write_ranking
from tests.command_line import audit
from tests.report_extremes import HOSTILE
from tests.report_page import POLICY, Page
from tests.report_samples import sample

WEIGHTS_ALONE = {"audit": {"checks": ["weight_delta"]}}


def made(name: str, outcome: str | None = "DELETED", **fields: object) -> Candidate:
    return Candidate.model_validate({"name": name, "folder": name, "outcome": outcome, "complete": True} | fields)


def order(found: list[Candidate], by: str = "outcome") -> list[str]:
    return [c.name for c in ranked("original.pt", found, by).candidates]


def at(value: float) -> dict[str, Interval | None]:
    return {"few_shot": Interval(value=value, low=value - 0.1, high=value + 0.1)}


RANKED = [
    made("tight", bound=0.2, utility=0.9, rho=at(0.05)),
    made("useful", bound=0.3, utility=0.99, rho=at(-0.02)),
    made("dull", bound=0.3, utility=0.8, rho=at(0.01)),
    made("open", "INCONCLUSIVE", utility=0.95, rho={"few_shot": None}),
    made("broken", "INCONCLUSIVE", flags=("DAMAGED",), utility=0.3),
    made("caught", "NOT_DELETED", utility=0.97, rho=at(0.6)),
    made("hidden", "SUPPRESSED", utility=0.98, rho=at(0.9)),
    made("plain", "NOT_FORGOTTEN", utility=1.0, rho=at(1.0)),
    made("junk", None, folder=None, complete=False, refused="is no checkpoint"),
]


def test_the_order_is_by_outcome_then_flags_bound_and_utility_whatever_the_order_given() -> None:
    names = [c.name for c in RANKED]
    for few in permutations(RANKED[:4] + RANKED[-1:], 5):
        assert order(list(few)) == ["tight", "useful", "dull", "open", "junk"]
    assert order(RANKED[::-1]) == names


@pytest.mark.parametrize(
    ("by", "first", "last"),
    [
        ("bound", ["tight", "useful"], "junk"),
        ("utility", ["plain", "useful"], "junk"),
        ("few_shot", ["useful", "dull"], "junk"),
    ],
)
def test_it_is_sorted_by_what_is_asked_and_what_is_missing_comes_last(by: str, first: list[str], last: str) -> None:
    found = order(RANKED, by)
    assert found[:2] == first
    assert found[-1] == last


def test_what_nothing_can_be_sorted_by_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="cannot be sorted by 'fewshot'; did you mean few_shot"):
        ranked("original.pt", RANKED, "fewshot")


def test_a_candidate_holds_what_its_audit_found() -> None:
    one = candidate("a.pt", "a", sample("DELETED"))
    assert (one.outcome, one.bound, one.utility) == ("DELETED", 0.2, 0.9807)
    assert one.rho["quantization"] is None, "it could not run"
    assert not one.complete
    assert "cka" not in one.rho, "it only informs"
    assert "The checks that this rests on found" in one.sentence


def test_the_files_hold_the_ranking(tmp_path: Path) -> None:
    ranking = ranked("original.pt", RANKED)
    page = write_ranking(tmp_path, ranking)
    assert Ranking.model_validate_json((tmp_path / "ranking.json").read_text()) == ranking
    rows = list(csv.DictReader(io.StringIO((tmp_path / "ranking.csv").read_text())))
    assert [row["candidate"] for row in rows] == [c.name for c in RANKED]
    assert (rows[0]["place"], rows[0]["bound"], rows[0]["rho_few_shot"]) == ("1", "0.2", "0.05")
    assert rows[-1]["refused"] == "is no checkpoint"
    shown = Page(page.read_text())
    assert [attrs["href"] for attrs in shown.all("a")] == [f"{c.name}/report.html" for c in RANKED[:-1]]
    assert "9. junk could not be audited – – is no checkpoint" in shown.text
    assert "at most 20 %" in shown.text


def test_the_overview_runs_and_fetches_nothing_whatever_candidates_are_called() -> None:
    hostile = [made(f"{HOSTILE}{i}", folder=f"../{HOSTILE}", sentence=HOSTILE, rho={HOSTILE: None}) for i in range(2)]
    source = render_overview(ranked(HOSTILE, hostile))
    page = Page(source)
    assert page.all("meta")[1]["content"] == POLICY
    assert "<script" not in source
    assert "<img" not in source
    assert all("<" not in (attrs["href"] or "") and ":" not in (attrs["href"] or "") for attrs in page.all("a"))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("a.pt", "b.pt"), ("a", "b")),
        (("one/model.pt", "two/model.pt"), ("one-model", "two-model")),
        (("../up/x.pt", "./.hidden"), ("x", "hidden")),
        (("a/b.pt", "a-b.pt", "c/b.pt"), ("1-a-b", "2-a-b", "3-c-b")),
        (("...", "??"), ("1-candidate", "2-candidate")),
    ],
)
def test_folders_have_names_of_their_own_directly_below(names: tuple[str, ...], found: tuple[str, ...]) -> None:
    assert tuple(folders(names).values()) == found


def test_each_report_prints_the_command_of_its_own_audit() -> None:
    typed = ["compare", "o.pt", "--holdout", "b.pt", "a.pt", "b.pt", "-q", "--sort=bound"]
    names, valued = ("a.pt", "b.pt"), valued_options(compare)
    assert arguments_for("a.pt", names, typed, valued) == [
        "compare", "o.pt", "--holdout", "b.pt", "a.pt", "-q", "--sort=bound",
    ]  # fmt: skip
    # The original held against itself among the candidates shows that the audit works.
    assert arguments_for("o.pt", ("o.pt", "a.pt"), ["compare", "o.pt", "o.pt", "a.pt"], valued) == [
        "compare", "o.pt", "o.pt",
    ]  # fmt: skip


class TestSweep:
    """Checkpoints of one run: the same audits, in the order of their steps, and drawn over them."""

    RUN = (
        made("run/step-100.pt", "NOT_DELETED", utility=0.9, rho=at(0.1) | {"depth": None}),
        made("run/step-9.pt", "NOT_FORGOTTEN", utility=0.99, rho={"few_shot": Interval(value=0.9, low=-40, high=40)}),
        made("run/step-50.pt", None, folder=None, complete=False, refused="is no checkpoint"),
        made("run/step-20.pt", "NOT_DELETED", utility=None, rho=at(0.5)),
    )

    @pytest.mark.parametrize(
        ("names", "found"),
        [
            (("step-9.pt", "step-10.pt"), [9, 10]),
            (("run2/epoch_010.pt", "run2/epoch_002.pt"), [10, 2]),
            (("out/1/model.pt", "out/12/model.pt"), [1, 12]),
            (("checkpoint-500", "checkpoint-1000"), [500, 1000]),
        ],
    )
    def test_the_step_is_the_number_in_which_names_differ(self, names: tuple[str, ...], found: list[int]) -> None:
        assert list(steps(names).values()) == found

    @pytest.mark.parametrize(
        "names",
        [
            ("step-1.pt",),
            ("a.pt", "b.pt"),
            ("step-1.pt", "step-2.safetensors"),
            ("step-1.pt", "step-01.pt"),
            ("step-1-loss-3.pt", "step-2-loss-2.pt"),
            ("step-1.pt", "step-1-of-2.pt"),
            ("step-1.pt", "step-.pt"),
        ],
    )
    def test_names_without_one_are_refused_before_the_first_audit(self, pair: Path, names: tuple[str, ...]) -> None:
        with pytest.raises(SpecError, match="no steps can be read") as caught:
            steps(names)
        done = audit("sweep", "original.safetensors", *names)
        assert done.exit_code == 2
        assert str(caught.value) in done.stderr
        assert not (pair / "audit-out").exists()

    def test_everything_written_goes_by_steps(self, tmp_path: Path) -> None:
        ranking = ranked("original.pt", self.RUN, "step")
        assert [c.step for c in ranking.candidates] == [9, 20, 50, 100]
        page = Page(write_ranking(tmp_path, ranking).read_text())
        assert Ranking.model_validate_json((tmp_path / "ranking.json").read_text()) == ranking
        rows = list(csv.DictReader(io.StringIO((tmp_path / "ranking.csv").read_text())))
        assert [(row["step"], row["rho_few_shot"]) for row in rows] == [
            ("9", "0.9"), ("20", "0.5"), ("50", ""), ("100", "0.1"),
        ]  # fmt: skip
        assert "4 checkpoints of one run, step by step" in page.text
        assert "Step 50: run/ step-50.pt could not be audited – – is no checkpoint" in page.text

    def test_rho_of_each_check_and_the_retain_accuracy_are_drawn_over_the_steps(self) -> None:
        rho, utility = over_steps(ranked("original.pt", self.RUN, "step"))
        assert len(rho.svgs) == 1, "nothing is drawn of a check that was measured nowhere"
        assert rho.key == {"unlearned": "ρ", "drawn": "its limits, each with 95 % confidence"}
        assert (rho.across, rho.up, utility.up) == ("step", "ρ", "retain accuracy")
        assert "few_shot" in rho.svgs[0]
        for tick in ("−0.5", "0.5", "1"):
            assert f">{tick}</text>" in rho.svgs[0], "limits of 40 flatten nothing"

    def test_other_rankings_have_no_steps_and_no_figure(self) -> None:
        ranking = ranked("original.pt", self.RUN)
        assert {c.step for c in ranking.candidates} == {None}
        assert over_steps(ranking) == ()
        assert "step by step" not in render_overview(ranking)

    def test_a_sweep_is_typed_as_audits_of_two_models(self, pair: Path) -> None:
        for name, source in (("step-9", "copy"), ("step-10", "unlearned")):
            (pair / f"{name}.safetensors").write_bytes((pair / f"{source}.safetensors").read_bytes())
        done = audit("sweep", "original.safetensors", "step-10.safetensors", "step-9.safetensors")
        assert done.exit_code == 1, "the copy was not deleted"
        out = pair / "audit-out"
        assert [c["step"] for c in json.loads((out / "ranking.json").read_text())["candidates"]] == [9, 10]
        results = json.loads((out / "step-9" / "results.json").read_text())
        assert results["plan"]["command"] == "audit compare original.safetensors step-9.safetensors"
        planned = audit("sweep", "original.safetensors", "step-10.safetensors", "step-9.safetensors", "--dry-run")
        assert planned.exit_code == 0


class TestCommandLine:
    """Pairs of bare weights, which take a moment: without any data only equal weights accuse."""

    def test_candidates_are_audited_ranked_and_linked(self, pair: Path) -> None:
        (pair / "junk.pt").write_text("junk")
        done = audit("compare", "original.safetensors", "copy.safetensors", "junk.pt", "unlearned.safetensors")
        assert done.exit_code == 1, "the copy was not deleted"
        assert "copy.safetensors: NOT_DELETED" in done.output
        assert "junk.pt: could not be audited" in done.output
        out = pair / "audit-out"
        ranking = json.loads((out / "ranking.json").read_text())
        assert [c["name"] for c in ranking["candidates"]] == ["unlearned.safetensors", "copy.safetensors", "junk.pt"]
        assert "no checkpoint" in ranking["candidates"][2]["refused"]
        assert "copy/report.html" in (out / "overview.html").read_text()
        results = json.loads((out / "copy" / "results.json").read_text())
        assert results["plan"]["command"] == "audit compare original.safetensors copy.safetensors"
        alone = audit("compare", "original.safetensors", "copy.safetensors", "--out", "alone")
        assert alone.exit_code == 1
        assert (pair / "alone" / "results.json").read_bytes() == (out / "copy" / "results.json").read_bytes()
        assert (pair / "alone" / "report.html").read_bytes() == (out / "copy" / "report.html").read_bytes()

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("a.pt", "a.pt"), "the candidate a.pt is given twice"),
            (("a.pt", "b.pt", "--plan", "plan.json"), "--plan is the plan of one candidate"),
            (("a.pt", "b.pt", "--sort", "fewshot"), "did you mean few_shot"),
            (("a.pt", "--sort", "bound"), "--sort is for several candidates"),
        ],
    )
    def test_what_does_not_fit_is_refused_before_the_first_audit(
        self, pair: Path, arguments: tuple[str, ...], words: str
    ) -> None:
        done = audit("compare", "original.safetensors", *arguments)
        assert done.exit_code == 2
        assert words in done.stderr
        assert not (pair / "audit-out").exists()

    def test_none_that_can_be_audited_is_the_code_of_the_refusal(self, pair: Path) -> None:
        for name in ("a.pt", "b.pt"):
            (pair / name).write_text("junk")
        assert audit("compare", "original.safetensors", "a.pt", "b.pt").exit_code == 2

    def test_a_dry_run_plans_each_and_scores_none(self, pair: Path) -> None:
        done = audit("compare", "original.safetensors", "copy.safetensors", "unlearned.safetensors", "--dry-run")
        assert done.exit_code == 0
        assert done.output.count("DELETED is out of reach") >= 2
        assert not (pair / "audit-out").exists()


class TestPython:
    def test_paths_are_audited_over_shared_scores(self, pair: Path) -> None:
        events: list[Event] = []
        found = auditor.compare_many(
            "original.safetensors",
            ["unlearned.safetensors", "copy.safetensors"],
            out="ranked",
            report=events.append,
            options=WEIGHTS_ALONE,
        )
        assert repr(found) == "<ManyResults unlearned.safetensors INCONCLUSIVE, copy.safetensors NOT_DELETED>"
        assert found.audits["copy.safetensors"].outcome == "NOT_DELETED"
        assert found.folder is not None
        assert (found.folder / "overview.html").is_file()
        assert list(found.to_frame()["candidate"]) == ["unlearned.safetensors", "copy.safetensors"]
        assert "<table" in found._repr_html_()
        originals = [e.reused for e in events if isinstance(e, Unit) and e.model == "original"]
        assert originals == [False, True], "the second candidate computes nothing for the original"

    def test_one_that_cannot_be_read_is_ranked_last_and_none_at_all_raises(self, pair: Path) -> None:
        (pair / "junk.pt").write_text("junk")
        found = auditor.compare_many("original.safetensors", ["junk.pt", "copy.safetensors"], options=WEIGHTS_ALONE)
        assert [c.name for c in found.ranking.candidates] == ["copy.safetensors", "junk.pt"]
        assert set(found.audits) == {"copy.safetensors"}
        with pytest.raises((ModelError, UnsafeInputError)):
            auditor.compare_many("original.safetensors", ["junk.pt"])

    @pytest.mark.parametrize(
        ("given", "words"), [([], "no candidate is given"), (["a.pt", "a.pt"], "a.pt is given twice")]
    )
    def test_no_candidate_and_one_twice_are_refused(self, given: list[str], words: str) -> None:
        with pytest.raises(SpecError, match=words):
            auditor.compare_many("original.safetensors", given)
