"""``audit list``."""

import textwrap
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from auditor.checks.check import Check

_WIDTH = 79
_MAY = {"clear": "clear, accuse", "accuse": "accuse", "inform": "inform"}


@click.command("list")
def list_checks() -> None:
    """Show the checks: family, what each may do, tasks, needs and extra cost."""
    from auditor.checks import registry

    pages = [
        [f"task {task}", *(_entry(registry.load(n, task)) for n in registry.names(task))] for task in registry.TASKS
    ]
    click.echo("\n\n".join(entry for page in pages for entry in page))


def _entry(check: "Check") -> str:
    needs = ", ".join(check.needs) or "the two checkpoints alone"
    paragraphs = [
        f"tasks: {', '.join(check.tasks)}   requests: {', '.join(check.requests)}   needs: {needs}",
        check.summary,
        f"extra cost: {check.cost}",
    ]
    return "\n".join([f"{check.name}   {check.family}   may: {_MAY[check.may]}", *map(_indented, paragraphs)])


def _indented(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
