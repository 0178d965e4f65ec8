"""Live progress of an audit, on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from auditor.plan import Plan
from auditor.runner import Event


class LiveProgress:
    """One bar over every unit of work; says what is being measured and what was reused."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("loading models and data", total=None)
        self._reused = 0

    def start(self, plan: Plan) -> None:
        """The plan is made; scoring begins."""
        self._bar.update(self._task, total=len(plan.models) * len(plan.checks), description="scoring")

    def finished(self, event: Event) -> None:
        """One unit is done."""
        self._reused += event.reused
        note = f", {self._reused} reused" if self._reused else ""
        state = " failed" if event.failed else ""
        self._bar.update(self._task, advance=1, description=f"{event.check} on {event.model}{state}{note}")


@contextmanager
def live_progress(quiet: bool) -> Iterator[LiveProgress]:
    """A progress bar while the block runs; silent where ``quiet`` or not at a terminal."""
    console = Console(stderr=True, quiet=quiet)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        yield LiveProgress(bar)
