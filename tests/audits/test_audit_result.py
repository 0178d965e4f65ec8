"""What the Python call returns: short to print, drawn in a notebook, saved when asked."""

from pathlib import Path

import pytest

from auditor.audit import AuditResult
from auditor.checks import registry
from auditor.errors import DataError, SpecError
from auditor.records.results import RecordedScores, read_results
from auditor.records.score import Reading, Score
from tests.report_page import Page
from tests.report_samples import sample

SCORES = RecordedScores(
    scores={"few_shot": {"original": Score(check="few_shot", readings={"a": Reading(value=0.5)}, n_examples=3)}}
)


def result(folder: Path | None = None, scores: RecordedScores | None = SCORES) -> AuditResult:
    return AuditResult(results=sample("SUPPRESSED"), folder=folder, scores=scores)


def test_it_prints_in_one_line(tmp_path: Path) -> None:
    assert repr(result()) == "<AuditResult SUPPRESSED, assurance A3, 9 checks, not saved>"
    assert repr(result(tmp_path)) == f"<AuditResult SUPPRESSED, assurance A3, 9 checks, {tmp_path / 'report.html'}>"
    flagged = AuditResult(results=sample("INCONCLUSIVE"), folder=None)
    assert "INCONCLUSIVE [DAMAGED], " in repr(flagged)


def test_a_notebook_shows_badge_sentence_and_axis_and_runs_nothing() -> None:
    found = result()._repr_html_()
    page = Page(found)
    assert page.text.startswith("SUPPRESSED Suppressed, not deleted")
    assert "found 88 % of what the original knew" in page.text
    assert [attrs["aria-label"] for attrs in page.all("svg") if attrs.get("class") == "strip"][1].startswith(
        "few_shot:"
    )
    assert "script" not in {tag for tag, _ in page.tags}
    assert len(found) < 20_000
    # Rules without the piece's own class would restyle the whole notebook.
    assert "body" not in found


def test_what_it_holds_is_at_hand(tmp_path: Path) -> None:
    found = result(tmp_path)
    assert found.outcome == found.verdict.outcome == "SUPPRESSED"
    assert found.report == tmp_path / "report.html"
    assert result().report is None
    frame = found.to_frame()
    assert list(frame["check"]) == [e.check for e in found.results.evidence]
    assert frame.set_index("check").loc["few_shot", "rho"] == pytest.approx(0.88)


def test_saving_writes_the_whole_folder_of_an_audit(tmp_path: Path) -> None:
    report = result().save(tmp_path / "kept")
    assert report == tmp_path / "kept" / "report.html"
    assert read_results(report.parent / "results.json") == sample("SUPPRESSED")
    assert {path.name for path in report.parent.iterdir()} == {
        "plan.json", "results.json", "scores.json", "report.html", "SHA256SUMS",
    }  # fmt: skip
    again = result(report.parent, None).save(tmp_path / "again")
    assert again.read_bytes() == report.read_bytes()
    assert (again.parent / "scores.json").read_text() == SCORES.to_json()


def test_what_came_without_scores_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run the audit again to save it"):
        result(None, None).save(tmp_path)
    with pytest.raises(DataError, match=r"scores\.json does not exist"):
        result(tmp_path, None).save(tmp_path / "kept")
    (tmp_path / "scores.json").write_text("{}")
    with pytest.raises(DataError, match="is not a file of scores"):
        result(tmp_path, None).save(tmp_path / "kept")


@pytest.mark.parametrize("name", ["fewshot", "Few_Shot", "few-shot"])
def test_an_unknown_check_is_refused_with_the_nearest_names(name: str) -> None:
    with pytest.raises(SpecError, match=f"this audit has no check called '{name}'; did you mean few_shot"):
        result().evidence(name)
    with pytest.raises(SpecError, match=f"there is no check called '{name}'; did you mean few_shot"):
        registry.load(name, "classification")
    with pytest.raises(SpecError, match="; there are: "):
        result().evidence("zzz")
