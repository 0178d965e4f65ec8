"""Live progress of an audit, and of training, on standard error."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from auditor.records.events import Begun, Event, Planned

# Of a log, in which no bar can move: often enough to see that it goes on, and seldom enough to read.
_SECONDS_BETWEEN_LINES = 60.0
# Units differ in their times by far, so that the rate is taken over many of them.
_SECONDS_OF_RATE = 3600.0


class LiveProgress:
    """One bar over every unit of work; says what is being measured and what was reused.

    Args:
        bar: drawn at a terminal.
        lines: whether to print a line now and then instead.
    """

    def __init__(self, bar: Progress, *, lines: bool = False) -> None:
        self._bar = bar
        self._lines = lines
        self._said = time.monotonic()
        self._task = bar.add_task("loading models and data", total=None)
        self._reused = 0

    def hear(self, message: Planned | Begun | Event) -> None:
        """Show what a running audit says."""
        if isinstance(message, Planned):
            for words in message.unlike:
                said = f"scores finished on a machine that differs are made again: {words}"
                # In one line, however wide the terminal is: it may be searched for in a log.
                self._bar.console.print(said, soft_wrap=True)
            self.start(message.units)
        elif isinstance(message, Event):
            self.finished(message)
        else:
            self._say(f"{message.check} on {message.model}")

    def start(self, units: int) -> None:
        """The plan is made; scoring begins, from the first unit."""
        self._reused = 0
        # From zero: where a child died, the next one tells of every unit again.
        self._bar.update(self._task, total=units, completed=0, description="scoring", refresh=True)

    def finished(self, event: Event) -> None:
        """One unit is done."""
        self._reused += event.reused
        state = " failed" if event.failed else ""
        self._say(f"{event.check} on {event.model}{state}", advance=1)
        if self._lines and time.monotonic() - self._said >= _SECONDS_BETWEEN_LINES:
            self._line()

    def _line(self) -> None:
        self._said = time.monotonic()
        task = self._bar.tasks[0]
        left = f", about {task.time_remaining / 60:.0f} min left" if task.time_remaining is not None else ""
        done = f"{task.completed:.0f} of {task.total:.0f}" if task.total is not None else f"{task.completed:.0f}"
        self._bar.console.print(f"{done} scores{left}: {task.description}", soft_wrap=True, highlight=False)

    def _say(self, text: str, advance: int = 0) -> None:
        note = f", {self._reused} reused" if self._reused else ""
        self._bar.update(self._task, advance=advance, description=f"{text}{note}", refresh=True)


@contextmanager
def live_progress(quiet: bool) -> Iterator[LiveProgress]:
    """A progress bar while the block runs, or a line now and then where there is no terminal; silent if ``quiet``."""
    console = Console(stderr=True, quiet=quiet)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    disable = quiet or not console.is_terminal
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=disable,
        # Drawn when there is something to say: a thread that draws could not live on in a forked process.
        auto_refresh=False,
        speed_estimate_period=_SECONDS_OF_RATE,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bar:
        yield LiveProgress(bar, lines=disable and not quiet)


@contextmanager
def training_progress(quiet: bool) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """A progress bar over the steps of one training run; silent where ``quiet`` or not at a terminal.

    Yields:
        From what is trained to a function that is told how many of how many steps are done.
    """
    console = Console(stderr=True, quiet=quiet)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    disable = quiet or not console.is_terminal
    with Progress(
        *columns, console=console, transient=True, disable=disable, redirect_stdout=False, redirect_stderr=False
    ) as bar:

        def watched(name: str) -> Callable[[int, int], None]:
            task = bar.add_task(f"steps of training {name}", total=None)
            return lambda done, steps: bar.update(task, completed=done, total=steps)

        yield watched
