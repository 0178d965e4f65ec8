"""``audit list``."""

import textwrap
from typing import TYPE_CHECKING

import click

from auditor.cli.examples import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.checks.check import AnyCheck

# Whole lines at a terminal of eighty columns.
_WIDTH = 79
_MAY = {"clear": "clear, accuse", "accuse": "accuse", "inform": "inform"}


@click.command("list", epilog=examples("audit list"))
def list_checks() -> None:
    """Show the checks: family, what each may do, tasks, needs and extra cost."""
    from auditor.tasks import registry

    # Image classifiers first, as everywhere.
    tasks = [
        registry.load(name) for name in sorted(registry.names(), key=lambda name: (name != "classification", name))
    ]
    pages = [
        [f"task {task.name}", *(_entry(check, registry.tasks_of(check)) for check in registry.checks_of(task))]
        for task in tasks
    ]
    click.echo("\n\n".join(entry for page in pages for entry in page))


def _entry(check: "AnyCheck", tasks: "Sequence[str]") -> str:
    needs = ", ".join(check.needs) or "the two checkpoints alone"
    paragraphs = [
        f"tasks: {', '.join(tasks)}   requests: {', '.join(check.requests)}   needs: {needs}",
        check.summary,
        f"extra cost: {check.cost}",
    ]
    return "\n".join([f"{check.name}   {check.family}   may: {_MAY[check.may]}", *map(_indented, paragraphs)])


def _indented(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
