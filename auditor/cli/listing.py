"""``audit list``."""

import textwrap
from typing import TYPE_CHECKING

import click

from auditor.cli.examples import examples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditor.checks.check import AnyCheck

# Whole lines at a terminal of eighty columns.
_WIDTH = 79
_MAY = {"clear": "clear, accuse", "accuse": "accuse", "inform": "inform"}


@click.command(
    "list", epilog=examples("audit list", "audit list --extensions", "audit list --literature", "audit list --taxonomy")
)
@click.option("--extensions", is_flag=True, help="instead the tasks, nulls, readers and executors, and who brings them")
@click.option("--literature", is_flag=True, help="instead the page docs/literature.md: which paper is what here")
@click.option("--taxonomy", is_flag=True, help="instead the page docs/taxonomy.md: intent and place of every method")
def list_checks(*, extensions: bool, literature: bool, taxonomy: bool) -> None:
    """Show the checks: family, what each may do, tasks, needs and extra cost."""
    from auditor.tasks import registry

    if literature:
        from auditor.literature import page

        click.echo(page(), nl=False)
        return
    if taxonomy:
        from auditor.taxonomy import page as places

        click.echo(places(), nl=False)
        return
    if extensions:
        click.echo("\n\n".join(_extensions()))
        return
    # Image classifiers first, as everywhere.
    tasks = [
        registry.load(name) for name in sorted(registry.names(), key=lambda name: (name != "classification", name))
    ]
    pages = [
        [f"task {task.name}", *(_entry(check, registry.tasks_of(check)) for check in registry.checks_of(task))]
        for task in tasks
    ]
    click.echo("\n\n".join(entry for page in pages for entry in page))


def _extensions() -> "Iterator[str]":
    """A paragraph for each kind, with name, distribution and version of everything that is installed."""
    from auditor import plugins
    from auditor.inference import nulls
    from auditor.run.executors import registry as executors
    from auditor.tasks import registry as tasks
    from auditor.tasks.causal_lm import readers as facts
    from auditor.tasks.classification.readers import files as images

    groups = {
        "tasks": tasks.GROUP,
        "nulls, what ρ = 0 may stand for": nulls.GROUP,
        "readers of images, by suffix": images.READERS,
        "readers of facts, by suffix": facts.READERS,
        "executors": executors.GROUP,
    }
    for noun, group in groups.items():
        # What a package registers is named here even where it cannot be loaded: this is where one looks for it.
        found = [f"  {entry.name}   {plugins.provider(entry)}" for entry in plugins.registered(group)]
        yield "\n".join([noun, *(found or ["  none"])])


def _entry(check: "AnyCheck", tasks: "Sequence[str]") -> str:
    needs = ", ".join(check.needs) or "the two checkpoints alone"
    paragraphs = [
        f"tasks: {', '.join(tasks)}   requests: {', '.join(check.requests)}   needs: {needs}   access: {check.access}",
        check.summary,
        f"extra cost: {check.cost}",
    ]
    return "\n".join([f"{check.name}   {check.family}   may: {_MAY[check.may]}", *map(_indented, paragraphs)])


def _indented(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
