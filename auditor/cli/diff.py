"""``audit diff``."""

from pathlib import Path

import click

from auditor.cli.examples import examples


def results_file(path: Path) -> Path:
    """A results.json, given itself or by its folder."""
    return path / "results.json" if path.is_dir() else path


@click.command(
    epilog=examples(
        "audit diff before/results.json audit-out",
    )
)
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
def diff(first: Path, second: Path) -> int:
    """Compare two audits, given by folder or results.json: verdict, each check's ρ, and what differs in the plan."""
    from auditor.cli import comparison
    from auditor.records.results import read_results

    one, other = (read_results(results_file(path)) for path in (first, second))
    comparison.show(one, other)
    same = (one.verdict.outcome, one.verdict.flags) == (other.verdict.outcome, other.verdict.flags)
    return 0 if same else 1
