"""What a long audit says of itself where no bar can be drawn."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from auditor.cli import progress
from auditor.cli.progress import LiveProgress, live_progress
from auditor.records.events import Event, Planned


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress.time, "monotonic", made)
    return made


def said(clock: Clock, *, lines: bool, seconds: float) -> list[str]:
    """Of eight units out of ten, each of so many seconds."""
    written = io.StringIO()
    bar = Progress(console=Console(file=written), disable=True, get_time=clock)
    live = LiveProgress(bar, lines=lines)
    live.hear(Planned(units=10))
    for i in range(8):
        clock.now += seconds
        live.hear(Event(check=f"check{i}", model="original", reused=False, failed=False))
    return written.getvalue().splitlines()


def test_a_log_gets_a_line_a_minute_with_what_is_left(clock: Clock) -> None:
    found = said(clock, lines=True, seconds=30.0)
    assert len(found) == 4
    assert found[0].startswith("2 of 10 scores")
    assert found[-1] == "8 of 10 scores, about 1 min left: check7 on original"


def test_quick_audits_and_terminals_get_none(clock: Clock) -> None:
    assert said(clock, lines=True, seconds=2.0) == []
    assert said(clock, lines=False, seconds=300.0) == []


def test_quiet_is_silent(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (True, False):
        with live_progress(quiet) as live:
            live.hear(Planned(units=2))
            clock.now += 100
            live.hear(Event(check="outputs", model="original", reused=False, failed=True))
        printed = capsys.readouterr().err
        assert printed == "" if quiet else "1 of 2 scores" in printed
