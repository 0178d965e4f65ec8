"""``audit render``."""

from pathlib import Path

import click

from auditor.cli.examples import examples


@click.command(
    epilog=examples(
        "audit render audit-out/results.json --out report.html",
    )
)
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="File; default report.html beside RESULTS.")
def render(results: Path, out: Path | None) -> None:
    """Draw the report of a results.json: the same bytes on every machine."""
    from auditor.records.results import read_results
    from auditor.reports import html
    from auditor.run.store import write_atomically

    target = out if out is not None else results.parent / "report.html"
    write_atomically(target, html.draw(read_results(results)))
    click.echo(f"wrote {target}")
