"""``audit work``."""

from pathlib import Path

import click

from auditor.cli.compare import request
from auditor.cli.examples import examples
from auditor.cli.options import CompareOptions


@click.command(
    epilog=examples(
        "audit work plan.json --shard 2/8",
        "sbatch --array=1-8 --wrap 'audit work plan.json'  # each task does its own part",
    )
)
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--shard", "written", metavar="I/N", help="The I-th of N parts; default: the task of a Slurm job array.")
@click.option("--config", type=click.Path(path_type=Path), help="audit.toml that the plan was made from, if elsewhere.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@click.pass_obj
def work(arguments: list[str], /, plan: Path, written: str | None, config: Path | None, quiet: bool) -> None:
    """Do one part of the work of PLAN, a file made by `audit plan`, and keep its scores in the store.

    All parts may be done at once, by processes or machines that share the folder; `audit compare --plan PLAN` then
    finds every score finished, and decides.
    """
    from auditor.cli.supervised import worked_on
    from auditor.run.shards import asked_shard

    shard = asked_shard(written)
    options: CompareOptions = {"config": config} if config is not None else {}
    prepared, spec, _ = request(arguments, options, plan)
    worked_on(prepared, shard, spec.audit.time_limit, quiet)
    click.echo(f"part {shard.number} of {shard.of} is done")
