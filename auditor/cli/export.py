"""``audit export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from auditor.cli.diff import results_file
from auditor.cli.examples import examples
from auditor.errors import SpecError

if TYPE_CHECKING:
    from auditor.records.results import Results

Form = Literal["model-card", "markdown", "badge", "csv", "rows"]


@click.command(
    epilog=examples(
        "audit export audit-out --markdown",
        "audit export audit-out --csv --out checks.csv",
    )
)
@click.argument("audit", type=click.Path(path_type=Path))
@click.option("--model-card", "form", flag_value="model-card", help="Markdown block for the model's card.")
@click.option("--markdown", "form", flag_value="markdown", help="Verdict, why and what next, for a CI run's summary.")
@click.option("--badge", "form", flag_value="badge", help="JSON from which shields.io draws a badge.")
@click.option("--csv", "form", flag_value="csv", help="One row per check: ρ, limits, resolution, p-value, scores.")
@click.option("--rows", "form", flag_value="rows", help="The rows behind every figure, as CSV.")
@click.option("--out", type=click.Path(path_type=Path), help="File; default standard output.")
def export(audit: Path, form: Form | None, out: Path | None) -> None:
    """Turn an audit, given by folder or results.json, into Markdown, a badge, or tables."""
    if form is None:
        raise SpecError("say what to export: --model-card, --markdown, --badge, --csv or --rows")
    from auditor.records.results import read_results
    from auditor.run.store import write_atomically

    text = _text(read_results(results_file(audit)), form)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_atomically(out, text)


def _text(results: "Results", form: Form) -> str:
    from auditor.review import exports

    if form == "model-card":
        return exports.model_card(results)
    if form == "markdown":
        return exports.markdown(results)
    if form == "badge":
        return exports.badge(results)
    return exports.csv(exports.evidence_frame(results) if form == "csv" else exports.rows_frame(results))
