"""``audit scan``."""

from pathlib import Path

import click

from auditor.cli.examples import examples
from auditor.errors import UnsafeInputError, UsageError

_STATES = {"sound": "sound", "refused": "REFUSED", "unusable": "unusable"}
_EXIT_CODES = {"sound": 0, "refused": UnsafeInputError.exit_code, "unusable": UsageError.exit_code}


@click.command(
    epilog=examples(
        "audit scan received.pt",
    )
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
def scan(files: tuple[Path, ...]) -> int:
    """Read checkpoints, transformers directories and adapters as an audit would, and say what is in them.

    Nothing out of them is executed. What picklescan says is shown where it is installed, and decides nothing.
    """
    from auditor.scan import scan as scan_one

    worst = 0
    for path in files:
        found = scan_one(path)
        click.echo(f"{_STATES[found.state]:<8}  {found.words}")
        if found.picklescan_report is not None:
            click.echo(f"{'':<8}  {found.picklescan_report}")
        # A refused file (4) outweighs one that is merely unusable (2).
        worst = max(worst, _EXIT_CODES[found.state])
    return worst
