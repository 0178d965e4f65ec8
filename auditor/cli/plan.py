"""``audit plan``."""

import shlex
from pathlib import Path
from typing import Unpack

import click

from auditor.cli.examples import examples
from auditor.cli.options import Options, spec_from_options, spec_options
from auditor.errors import SpecError
from auditor.records.verdict import EXPECTATIONS


@click.command(
    epilog=examples(
        "audit plan original.pt unlearned.pt --out plan.json",
    )
)
@click.argument("original", required=False)
@click.argument("unlearned", required=False)
@spec_options()
@click.option("--expect", type=click.Choice(list(EXPECTATIONS)), help="Outcome that exits with 0; default deleted.")
@click.option(
    "--out", "target", type=click.Path(path_type=Path), default=Path("plan.json"), show_default=True, help="File."
)
def plan(target: Path, **options: Unpack[Options]) -> None:
    """Freeze what an audit will do, before any model is scored.

    `audit compare --plan` carries it out, and refuses if anything has changed since.
    """
    if target.exists():
        raise SpecError(f"{target} exists already, and a frozen plan is not replaced; give another --out")
    spec, base = spec_from_options(options)
    from auditor.cli import show
    from auditor.run import roads
    from auditor.run.estimate import estimate
    from auditor.run.execution import check_inputs
    from auditor.run.preparing import prepare
    from auditor.run.prospects import prospects
    from auditor.run.store import write_atomically

    command = ["audit", "compare", "--plan", str(target)]
    if options.get("config") is not None:
        command += ["--config", str(options["config"])]
    prepared = prepare(spec, base, {}, command=shlex.join(command))
    # First, or a plan would be frozen that cannot be carried out.
    check_inputs(prepared)
    show.plan(prepared.plan, estimate(prepared), roads.stored(prepared.work), prospects(prepared.plan))
    write_atomically(target, prepared.plan.to_json())
    click.echo(f"wrote {target}, plan digest {prepared.plan.digest}\ncarry it out with: {shlex.join(command)}")
