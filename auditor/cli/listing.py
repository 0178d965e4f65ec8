"""``audit list``."""

import click


@click.command("list")
def list_checks() -> None:
    """Show the checks: family, what each may do, tasks and needs."""
    from rich.console import Console
    from rich.table import Table

    from auditor import registry

    table = Table(box=None, pad_edge=False)
    for name in ("check", "family", "may", "tasks", "needs", "extra cost", "what it does"):
        table.add_column(name, overflow="fold")
    for check in map(registry.load, registry.names()):
        may = {"clear": "clear, accuse", "accuse": "accuse", "inform": "inform"}[check.may]
        table.add_row(
            check.name, check.family, may, ", ".join(check.tasks), ", ".join(check.needs), check.cost, check.summary
        )
    Console(highlight=False).print(table)
