"""``audit sweep``."""

from typing import Unpack

import click

from auditor.cli.compare import compare_candidates, run_options
from auditor.cli.examples import examples
from auditor.cli.options import CompareOptions, spec_options


@click.command(
    epilog=examples(
        "audit sweep original.pt run/step-10.pt run/step-20.pt run/step-30.pt",
        "audit sweep original.pt epoch-1.pt epoch-2.pt --checks few_shot --dry-run",
    )
)
@click.argument("original")
@click.argument("checkpoints", nargs=-1, required=True)
@spec_options()
@run_options
@click.pass_obj
def sweep(
    arguments: list[str],
    /,
    checkpoints: tuple[str, ...],
    dry_run: bool,
    quiet: bool,
    **options: Unpack[CompareOptions],
) -> int:
    """Audit the CHECKPOINTS of one run against ORIGINAL, and draw what changes over its steps.

    The step is the one number in which the names of the checkpoints differ. Each gets an audit, over shared scores;
    overview.html draws ρ of every check and the retain accuracy over the steps, ranking.csv and ranking.json hold them.
    """
    # Each report prints the command of its own audit, which is one of two models.
    typed = ["compare", *arguments[1:]]
    return compare_candidates(typed, checkpoints, options, by="step", dry_run=dry_run, quiet=quiet)
