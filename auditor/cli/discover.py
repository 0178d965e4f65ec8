"""``audit discover``."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from auditor.cli.examples import examples
from auditor.cli.options import Options, spec_from_options, spec_options
from auditor.errors import SpecError

if TYPE_CHECKING:
    from auditor.discovery import Discovery

_NOTHING = 3


@click.command(
    epilog=examples(
        "audit discover original.pt unlearned.pt --pool everything.npz --architecture network.py:build",
        "audit discover original unlearned --pool facts.jsonl --out found",
    )
)
@click.argument("original", required=False)
@click.argument("unlearned", required=False)
@click.option(
    "--pool", required=True, help="Images by class, or facts by subject, among which to search; labelled rightly."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write forget and retain set of an audit into.")
@spec_options(
    *("config", "architecture", "arguments", "base", "guard", "seed", "device", "dtype", "threads", "batch_size"),
    "allow_download",
)
def discover(pool: str, out: Path | None, **options: Unpack[Options]) -> int:
    """Rank the classes or subjects of a POOL by how far two models differ on them, where no forget set is known.

    Half of each group is searched. The other half is written to --out as forget and retain set, for the audit. Only
    answers are compared: what a model hides less well than groups usually differ stands out, and nothing else does.
    """
    if out is not None and out.exists():
        raise SpecError(f"{out} exists already, and what was found is not replaced; give another --out")
    spec, base = spec_from_options(options)
    from auditor import discovery

    result = discovery.discover(spec, pool, base)
    _show(result)
    if not result.found:
        return _NOTHING
    if out is not None:
        forget, retain = result.write(out)
        click.echo(f"wrote {forget} and {retain}, of the examples that were not searched")
        models = shlex.join(str(model) for model in (spec.models.original, spec.models.unlearned))
        click.echo(f"next: audit init {models} --forget {forget} --retain {retain}")
    return 0


def _show(result: "Discovery") -> None:
    from auditor.cli.terminal import Terminal
    from auditor.inference.outlying import LEVEL
    from auditor.reports.formats import percent

    terminal = Terminal()
    terminal.table(
        ("group", "examples", "original right", "unlearned right", "difference", ""),
        [
            (
                group.name,
                str(group.n),
                percent(group.original),
                percent(group.unlearned),
                f"{group.difference:.3f}",
                "stands out" if group.stands_out else "",
            )
            for group in result.groups
        ],
    )
    noun = result.pool.noun
    if result.found:
        terminal.say(f"stands out among {len(result.groups)} {noun} (level {LEVEL}): {', '.join(result.found)}")
    else:
        terminal.say(
            f"nothing stands out: on no {noun} do the models differ more than is usual between {noun}. Something may "
            "still have been unlearned, if its outputs are as before."
        )
