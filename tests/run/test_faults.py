"""Bad days, through whole audits of a tiny world: what hangs, dies, runs out of memory or disk, or meets another."""

import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

import auditor
from auditor.cli import main
from auditor.errors import UsageError
from auditor.records.events import Event
from auditor.records.results import Results, read_results
from auditor.run.lock import alone_in
from tests.tiny_world import same_files, same_numbers

PATIENT = "60"
# What lets root write into a folder that is read-only for its owner.
MAY_WRITE_ANYWHERE = "dac_override"


def audit(*options: str) -> Result:
    return CliRunner().invoke(main, ["compare", *options], prog_name="audit")


def found(folder: Path) -> Results:
    return read_results(folder / "audit-out" / "results.json")


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
        # A network that cannot be run has no canonical form, so that its weights are not compared either.
        lost = ("outputs", "cka", *(("weight_delta",) if how != "nan" else ()))
        assert {item.check: item.reason for item in results.coverage.failed} == dict.fromkeys(lost, self.REASONS[how])
        assert f"could not run: cka: {self.REASONS[how]}" in done.stdout
        if how == "nan":
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
            ("outputs", "cka", "weight_delta"),
            "memory ran out, also in batches of 64 instead of 256; "
            "give the machine more, or audit.batch_size a smaller value",
        )


class TestDisk:
    """A disk that fills, a folder that cannot be written to."""

    def stop_after(self, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """The disk is full once ``n`` files have been written."""
        real, written = os.fsync, [0]

        def fsync(handle: int) -> None:
            written[0] += 1
            if written[0] > n:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(handle)

        monkeypatch.setattr("os.fsync", fsync)

    @pytest.mark.usefixtures("no_report")
    @pytest.mark.parametrize("n", [0, 10, 26, 30])
    def test_full(self, n: int, plain: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """At the plan, at a score, at the first of the results, at the last of them: the old results stay whole."""
        shutil.copytree(plain / "audit-out", fresh / "audit-out")
        (fresh / "audit-out" / "results.json").write_text("of an earlier audit")
        with monkeypatch.context() as patched:
            self.stop_after(n, patched)
            done = audit()
        assert done.exit_code == 2
        named = {0: "audit-out/plan.json", 10: ".audit/scores/", 26: "audit-out/plan.json", 30: "audit-out/SHA256SUMS"}[
            n
        ]
        assert f"audit: cannot open or write {named}" in done.stderr
        assert "No space left on device; free some space, finished scores are kept and the same command" in done.stderr
        assert (fresh / "audit-out" / "results.json").read_text() == "of an earlier audit"
        assert leftovers(fresh) == []
        # All that was written but the plan and the description of the machine.
        assert len(list(fresh.glob(".audit/scores/*/[0-9a-f]*.json"))) == max(0, min(n, 26) - 2), (
            "but the plan and the description of the machine"
        )
        assert audit().exit_code == 3
        assert same_numbers(plain, fresh)

    def test_a_file_beyond_the_limit_of_the_process(self, fresh: Path) -> None:
        """The real thing: the system refuses to let a file grow."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        try:
            done = audit()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert done.exit_code == 2
        assert "audit: cannot open or write " in done.stderr
        assert "File too large" in done.stderr
        assert leftovers(fresh) == []

    @pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may write anywhere")
    def test_read_only(self, fresh: Path) -> None:
        (fresh / "audit-out").mkdir(mode=0o500)
        without = ("setpriv", f"--bounding-set=-{MAY_WRITE_ANYWHERE}", f"--inh-caps=-{MAY_WRITE_ANYWHERE}")
        command = (*(without if os.geteuid() == 0 else ()), sys.executable, "-m", "auditor", "compare")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert re.fullmatch(r"audit: cannot open or write \S*audit-out/\.lock: Permission denied\n", done.stderr)

    def test_refused_before_anything_is_scored(self, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same for whoever is root: what a read-only folder says is said for it."""

        def refused(*arguments: Any, **extra: Any) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "somewhere/.hidden")

        monkeypatch.setattr("tempfile.mkstemp", refused)
        done = audit()
        assert done.exit_code == 2
        assert done.stderr == "audit: cannot open or write audit-out/plan.json: Permission denied\n"
        assert not list(fresh.glob(".audit/scores/*"))


def leftovers(folder: Path) -> list[Path]:
    """Files half written, under their temporary names."""
    return [path for path in folder.rglob(".*.json.*") if path.is_file()]


class TestTwoAtOnce:
    def test_the_second_is_refused_and_named_the_folder(self, fresh: Path) -> None:
        with alone_in(fresh / "audit-out"):
            done = audit()
        assert done.exit_code == 2
        assert done.stderr == "audit: another audit is writing to audit-out; wait for it, or give another --out\n"
        assert not (fresh / "audit-out" / "plan.json").exists()
        assert not list(fresh.glob(".audit/scores/*"))

    def test_a_dead_one_is_in_nobodys_way(self, tmp_path: Path) -> None:
        def die() -> None:
            with alone_in(tmp_path):
                os.kill(os.getpid(), signal.SIGKILL)

        dead = get_context("fork").Process(target=die)
        dead.start()
        dead.join()
        assert dead.exitcode == -signal.SIGKILL
        with alone_in(tmp_path), pytest.raises(UsageError, match="another audit"), alone_in(tmp_path):
            pass


@pytest.mark.usefixtures("no_report")
def test_a_wrong_clock_changes_nothing(plain: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and clock are decades ahead, then decades behind; scores of the other time are reused."""
    results = (plain / "audit-out" / "results.json").read_bytes()
    for now in (4e9, 1e6):
        for path in fresh.rglob("*"):
            os.utime(path, (now, now))
        with monkeypatch.context() as patched:
            patched.setattr("time.time", lambda now=now: now)
            patched.setattr("time.time_ns", lambda now=now: int(now * 1e9))
            events: list[Event] = []
            auditor.compare(
                config=fresh / "audit.toml", out=fresh / "audit-out", report=events.append, command="audit compare"
            )
        assert events
        assert all(event.reused for event in events) == (now < 4e9)
        assert (fresh / "audit-out" / "results.json").read_bytes() == results


def test_no_module_asks_for_the_time_of_day() -> None:
    """Durations are taken from the monotonic clock, dates from audit.toml; in nanoseconds a file's tell it changed."""
    asked = re.compile(r"time\.time\(|time_ns\(|datetime\.now|\.today\(|utcnow|st_[amc]time(?!_ns)|getmtime")
    root = Path(auditor.__file__).parent
    assert [path.name for path in root.rglob("*.py") if asked.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.usefixtures("no_report")
def test_the_time_limit_stands_in_the_plan_and_changes_no_score(fresh: Path) -> None:
    assert audit("--time-limit", "99").exit_code == 3
    assert found(fresh).plan.asked.audit.time_limit == 99
    events = []
    auditor.compare(config=fresh / "audit.toml", options={"audit": {"time_limit": 77}}, report=events.append)
    assert events
    assert all(event.reused for event in events)
