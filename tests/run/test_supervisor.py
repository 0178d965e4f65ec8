"""The process that watches over an audit: what hangs or dies costs one unit, and nothing is left running."""

import faulthandler
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from auditor.errors import UnsafeInputError, UsageError
from auditor.records.events import Begun, Event, Planned, Unit
from auditor.run.executors.forked import Crash, Lost, Tell, supervise

PATIENCE = 20.0


def forever() -> None:
    while True:
        pass


def deaf() -> None:
    """Swallows what asks it to stop."""
    while True:
        with suppress(KeyboardInterrupt):
            time.sleep(0.01)


def inside_c() -> None:
    """Holds the interpreter's lock, so that no thread of the process runs."""
    re.match(r"(a+)+$", "a" * 60 + "b")


def crash() -> None:
    faulthandler.disable()  # pytest would print every frame
    os.kill(os.getpid(), signal.SIGSEGV)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


DEATHS: dict[str, tuple[Callable[[], object], str]] = {
    "forever": (forever, "took longer than 1 s (audit.time_limit) and was stopped"),
    "deaf": (deaf, "took longer than 1 s (audit.time_limit) and was stopped"),
    "inside c": (inside_c, "took longer than 1 s (audit.time_limit) and was stopped"),
    "segfault": (crash, "brought its process down (SIGSEGV)"),
    "killed": (killed, "had its process killed (SIGKILL), as the system does when memory runs out"),
    "exit": (lambda: os._exit(0), "ended its process with exit status 0"),
    "sys.exit": (lambda: sys.exit(0), "ended its process with exit status 0"),
}


def units(bad: Callable[[], object]) -> Callable[[Tell, Lost], None]:
    """Three units of which the second does something bad unless it has been given up."""

    def job(tell: Tell, lost: Lost) -> None:
        tell(Planned(units=3))
        for model in ("a", "b", "c"):
            reason = lost.get(Unit(check="x", model=model))
            if reason is None:
                tell(Begun(check="x", model=model))
                if model == "b":
                    bad()
            tell(Event(check="x", model=f"{model}: {reason}", reused=False, failed=reason is not None))

    return job


@pytest.mark.parametrize("death", DEATHS)
def test_a_unit_that_hangs_or_dies_is_given_up_and_the_others_go_on(death: str) -> None:
    bad, reason = DEATHS[death]
    heard: list[object] = []
    supervise(units(bad), seconds=1, hear=heard.append)
    ends = [message.model for message in heard if isinstance(message, Event)]
    assert ends == ["a: None", "a: None", f"b: {reason}", "c: None"]
    assert sum(isinstance(message, Planned) for message in heard) == 2, "one restart"


def test_a_unit_that_takes_too_long_is_asked_to_tidy_up_before_it_is_stopped(tmp_path: Path) -> None:
    def slow() -> None:
        try:
            time.sleep(PATIENCE)
        except KeyboardInterrupt:
            (tmp_path / "tidied").touch()
            raise

    supervise(units(slow), seconds=3, hear=lambda message: None)
    assert (tmp_path / "tidied").exists()


def test_the_limit_is_of_a_unit_and_not_of_the_whole() -> None:
    heard: list[object] = []
    supervise(units(lambda: time.sleep(0.7)), seconds=1, hear=heard.append)
    slow = [Begun(check="x", model=str(i)) for i in range(4)]

    def job(tell: Tell, lost: Lost) -> None:
        for unit in slow:
            tell(unit)
            time.sleep(0.4)

    supervise(job, seconds=1, hear=heard.append)
    assert [message for message in heard if message in slow] == slow


@pytest.mark.parametrize("death", ["forever", "exit", "killed"])
def test_outside_of_a_unit_the_audit_ends_with_a_sentence(death: str) -> None:
    bad, reason = DEATHS[death]
    with pytest.raises(UsageError, match=rf"^loading models and data could not be finished: it {re.escape(reason)}$"):
        supervise(lambda tell, lost: bad(), seconds=1, hear=lambda message: None)

    def later(tell: Tell, lost: Lost) -> None:
        tell(Planned(units=1))
        bad()

    with pytest.raises(UsageError, match=r"^scoring could not be finished: it "):
        supervise(later, seconds=1, hear=lambda message: None)


@pytest.mark.parametrize("error", [UnsafeInputError("x.pt was refused"), OSError(28, "No space left", "f")])
def test_errors_arrive_as_they_were_raised(error: Exception) -> None:
    def job(tell: Tell, lost: Lost) -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        supervise(job, seconds=PATIENCE, hear=lambda message: None)
    assert str(raised.value) == str(error)
    assert vars(raised.value) == vars(error)


def test_a_fault_arrives_with_its_traceback() -> None:
    def job(tell: Tell, lost: Lost) -> None:
        raise ZeroDivisionError("by design")

    with pytest.raises(Crash, match=r"(?s)^Traceback .* in job\n.*ZeroDivisionError: by design$"):
        supervise(job, seconds=PATIENCE, hear=lambda message: None)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be noticed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def comes_true(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("death", ["forever", "segfault"])
def test_nothing_that_the_child_started_outlives_it(death: str, tmp_path: Path) -> None:
    def bad() -> None:
        started = subprocess.Popen(["sleep", "600"])
        (tmp_path / "pids").write_text(f"{os.getpid()} {started.pid}")
        DEATHS[death][0]()

    supervise(units(bad), seconds=1, hear=lambda message: None)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert comes_true(lambda: not any(map(alive, pids)))


WATCHED = """
    import os, subprocess, sys, time
    from pathlib import Path
    from auditor.run.executors.forked import supervise

    def job(tell, lost):
        try:
            started = subprocess.Popen(["sleep", "600"])
            Path("pids.part").write_text(f"{os.getpid()} {started.pid}")
            Path("pids.part").rename("pids")
            time.sleep(600)
        finally:
            Path("tidied").touch()

    try:
        supervise(job, seconds=600, hear=print)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture
def watched(tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WATCHED)],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell starts background jobs with the signal ignored, and a child would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_orphan_is_left_however_the_supervisor_ends(
    watched: subprocess.Popen[str], number: signal.Signals, tmp_path: Path
) -> None:
    assert comes_true((tmp_path / "pids").exists)
    watched.send_signal(number)
    out, errors = watched.communicate(timeout=PATIENCE)
    assert watched.returncode == (130 if number == signal.SIGINT else -number)
    assert (out, errors) == ("", "")
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert comes_true(lambda: not any(map(alive, pids)))
    assert (tmp_path / "tidied").exists() == (number == signal.SIGINT)
