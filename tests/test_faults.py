"""Bad days, through whole audits of a tiny world: what hangs, dies, runs out of memory or disk, or meets another."""

import shutil
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner, Result

import auditor
from auditor.bundle import FILES
from auditor.cli import main
from auditor.results import Results, read_results
from tests.tiny_world import write_tiny_world

PATIENT = "60"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the world and, in ``audit-out`` and ``.audit``, an audit of it on which nothing went wrong."""
    folder = tmp_path_factory.mktemp("plain") / "world"
    config = write_tiny_world(folder)
    auditor.compare(config=config, out=folder / "audit-out", command="audit compare")
    return folder


@pytest.fixture
def fresh(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The world in the working directory, without any score."""
    folder = tmp_path / "world"
    shutil.copytree(plain, folder, ignore=shutil.ignore_patterns("audit-out", ".audit", "__pycache__"))
    monkeypatch.chdir(folder)
    return folder


def audit(*options: str) -> Result:
    return CliRunner().invoke(main, ["compare", *options], prog_name="audit")


def found(folder: Path) -> Results:
    return read_results(folder / "audit-out" / "results.json")


def same_files(one: Path, other: Path) -> bool:
    """Whether two audits wrote the same bytes."""
    return all((one / "audit-out" / name).read_bytes() == (other / "audit-out" / name).read_bytes() for name in FILES)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing it takes longer than all the rest."""
    monkeypatch.setattr("auditor.reports.html.render", lambda results: "")


class TestMisbehaviour:
    """The network, in the user's own code, does something bad when it is the unlearned model."""

    REASONS: ClassVar = {
        "raise": "RuntimeError: by design",
        "nan": "the unlearned model returns NaN or infinite logits; check the checkpoint",
        "sys.exit": "it ended its process with exit status 0",
        "os._exit": "it ended its process with exit status 0",
        "segfault": "it brought its process down (SIGSEGV)",
        "hang": "it took longer than 5 s (audit.time_limit) and was stopped",
    }

    @pytest.mark.usefixtures("no_report")
    @pytest.mark.parametrize("how", REASONS)
    def test_the_check_fails_with_its_reason_and_the_others_go_on(
        self, how: str, plain: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TINY", how)
        done = audit("--time-limit", "5" if how == "hang" else PATIENT)
        assert done.exit_code == 3, done.output
        results = found(fresh)
        assert {item.check: item.reason for item in results.coverage.failed} == {
            "outputs": self.REASONS[how],
            "cka": self.REASONS[how],
        }
        assert f"could not run: cka: {self.REASONS[how]}" in done.stdout
        assert results.of("weight_delta") == found(plain).of("weight_delta")
        assert not results.coverage.complete

    def test_a_later_run_tries_again_and_ends_in_the_same_bytes(
        self, plain: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TINY", "os._exit")
        assert audit().exit_code == 3
        monkeypatch.delenv("TINY")
        assert audit().exit_code == 3
        assert same_files(plain, fresh)

    @pytest.mark.parametrize(
        ("how", "reason"),
        [
            ("raise", "RuntimeError: by design"),
            ("hang", "it took longer than 5 s"),
            ("os._exit", "it ended its"),
        ],
    )
    def test_an_original_that_misbehaves_stops_at_the_gate(
        self, how: str, reason: str, fresh: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TINY", how)
        monkeypatch.setenv("TINY_ROLE", "original")
        done = audit("--time-limit", "5" if how == "hang" else PATIENT)
        assert done.exit_code == 2
        assert done.stderr.startswith(f"audit: the original could not be run on its data: {reason}")
        assert not (fresh / "audit-out" / "results.json").exists()

    def test_an_architecture_that_ends_the_process_while_it_is_loaded(self, fresh: Path) -> None:
        (fresh / "network.py").write_text("import os\ndef build():\n    os._exit(0)\n")
        done = audit()
        assert done.exit_code == 2
        assert "loading models and data could not be finished: it ended its process with exit status 0" in done.stderr


class TestMemory:
    """The unlearned model takes 16 examples at a time, and for more asks for 4 PB."""

    @pytest.mark.parametrize(("planned", "fits"), [(32, 16), (64, 16)])
    def test_smaller_batches_are_tried_and_said(
        self, planned: int, fits: int, fresh: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TINY", "memory")
        done = audit("--batch-size", str(planned))
        results = found(fresh)
        assert results.coverage.complete
        words = f"in batches of {fits} instead of {planned}, since memory ran out"
        said = {e.check: e.deviations for e in results.evidence if e.deviations}
        # The outputs have recorded everything by then: cka reads it, and needs no smaller batch.
        assert said == {"outputs": {"unlearned": words}}
        assert f"not as planned: outputs on unlearned {words}" in done.stdout
        report = (fresh / "audit-out" / "report.html").read_text(encoding="utf-8")
        assert f"Not as planned: outputs on unlearned {words}." in report
        monkeypatch.delenv("TINY")
        again = audit("--batch-size", str(planned))
        assert found(fresh) == results, "a stored score keeps its note"
        assert again.exit_code == done.exit_code == 3

    def test_a_check_that_does_not_fit_is_missing_coverage(self, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TINY", "memory")
        assert audit().exit_code == 3
        assert {item.check: item.reason for item in found(fresh).coverage.failed} == dict.fromkeys(
            ("outputs", "cka"),
            "memory ran out, also in batches of 64 instead of 256; "
            "give the machine more, or audit.batch_size a smaller value",
        )


@pytest.mark.usefixtures("no_report")
def test_the_time_limit_stands_in_the_plan_and_changes_no_score(fresh: Path) -> None:
    assert audit("--time-limit", "99").exit_code == 3
    assert found(fresh).plan.asked.audit.time_limit == 99
    events = []
    auditor.compare(config=fresh / "audit.toml", options={"audit": {"time_limit": 77}}, report=events.append)
    assert events
    assert all(event.reused for event in events)
