"""``audit canonical``."""

from pathlib import Path
from typing import Unpack

import click

from auditor.cli.examples import examples
from auditor.cli.options import Options, spec_from_options, spec_options
from auditor.errors import SpecError


@click.command(
    epilog=examples(
        "audit canonical unlearned.pt --out deploy.safetensors",
    )
)
@click.argument("model")
# What decides the form: what is dead in a model shows when it is run on the audit's data.
@spec_options(
    *("config", "forget", "retain", "retain_test", "holdout", "control", "classes", "architecture", "task"),
    *("allow_download", "arguments", "request", "base"),
    *("device", "threads", "batch_size"),
)
@click.option(
    "--out",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    help="File of safetensors to write; for a transformers directory or an adapter, a folder.",
)
def canonical(target: Path, model: str, **options: Unpack[Options]) -> None:
    """Write the canonical form of MODEL: the file that an audit of it is about.

    Weights are rounded to bfloat16, and units that are silent on all of the audit's data are zeroed. Architecture, data
    and the original, whose structure decides, come from audit.toml.
    """
    if target.exists():
        raise SpecError(f"{target} exists already and is not replaced; give another --out")
    # In the place of an audit's subject: the form depends on the same data and structure.
    spec, base = spec_from_options({**options, "unlearned": model})
    from auditor.reports.text import disagreement
    from auditor.run.preparing import write_canonical

    form = write_canonical(spec, base, target)
    click.echo(f"wrote {target}, digest {form.digest}; {form.zeroed} numbers of dead units were zeroed")
    if (words := disagreement(form)) is not None:
        click.echo(f"note: {words}")
