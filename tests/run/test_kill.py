"""``kill -9`` at any moment, then the same command: finished scores are reused, the result is the same to the byte."""

import importlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import auditor
from auditor.records.events import Event
from tests.tiny_world import same_files, same_numbers

MOMENTS = {
    "before a file is begun": "tempfile.mkstemp",
    "before its text is on disk": "os.fsync",
    "before it has its name": "pathlib.Path.replace",
}
WRITTEN_LAST = 5


def run(fresh: Path, **more: Any) -> None:
    auditor.compare(config=fresh / "audit.toml", out=fresh / "audit-out", command="audit compare", **more)


def dies(n: int, moment: str, fresh: Path) -> bool:
    """Run in a child that is killed at the n-th file it writes; whether it came to that."""

    def child() -> None:
        module, _, name = MOMENTS[moment].rpartition(".")
        owner = importlib.import_module(module) if module != "pathlib.Path" else Path
        setattr(owner, name, _deadly(getattr(owner, name), n))
        run(fresh)

    started = get_context("fork").Process(target=child)
    started.start()
    started.join()
    assert started.exitcode in (0, -signal.SIGKILL)
    return started.exitcode != 0


def _deadly(real: Callable[..., Any], n: int) -> Callable[..., Any]:
    calls = [0]

    def wrapped(*arguments: Any, **extra: Any) -> Any:
        calls[0] += 1
        if calls[0] == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **extra)

    return wrapped


def scores(folder: Path) -> set[str]:
    return {path.name for path in folder.glob(".audit/scores/*/[0-9a-f]*.json")}


@pytest.mark.usefixtures("no_report")
def test_at_every_few_scores(fresh: Path, plain: Path) -> None:
    """Killed again and again, each time a little further on and at another moment of writing."""
    kept: list[int] = []
    # The first writes down what the machine is, too, which is a file more.
    for n, moment in zip([3, *range(3, 9)], _in_turn(), strict=False):
        assert dies(n, moment, fresh)
        kept.append(len(scores(fresh)))
    assert kept == [0, 1, 3, 6, 10, 15, 21], "all but the one that was being written"
    events: list[Event] = []
    run(fresh, report=events.append)
    assert any(event.reused for event in events)
    assert {event.model for event in events if not event.reused} == {"unlearned"}, "the last one; decoys are as strong"
    assert scores(fresh) == scores(plain)
    assert same_numbers(plain, fresh)


def _in_turn() -> Iterator[str]:
    while True:
        yield from MOMENTS


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("moment", ["before its text is on disk", "before it has its name"])
def test_at_each_of_the_last_files(moment: str, fresh: Path, plain: Path) -> None:
    """The plan is written first, then, once all is scored, the results together."""
    run(fresh)
    for path in (fresh / "audit-out").iterdir():
        path.write_text("old")
    for n in range(2, 2 + WRITTEN_LAST):
        assert dies(n, moment, fresh)
    run(fresh)
    assert same_numbers(plain, fresh)


@pytest.mark.slow
def test_the_command_line_at_random_moments(fresh: Path, plain: Path) -> None:
    """The process that the user started is killed; what it started must end, and the next run go on."""
    draw = random.Random(0)
    command = [sys.executable, "-m", "auditor", "compare"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    subprocess.run([*command, "--out", "elsewhere", "--dry-run"], check=True, env=environment, capture_output=True)
    loading = time.monotonic() - began
    for _ in range(4):
        running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(draw.uniform(0.3, 1.5) * loading)
        running.kill()
        running.communicate()
    last = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert last.returncode == 3, last.stderr
    assert re.match(r"INCONCLUSIVE", last.stdout)
    assert same_files(plain, fresh)
