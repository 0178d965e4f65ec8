"""``audit reference``."""

import os
from pathlib import Path
from typing import Any

import click

from auditor.cli.compare import spec_from_options, spec_options


@click.command()
@spec_options
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True, help="References to train.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("references"), show_default=True, help="Folder.")
def reference(count: int, out: Path, **options: Any) -> None:
    """Train references from the retain set by the recipe in audit.toml, and two by a perturbed recipe.

    What is there already is not trained again.
    """
    spec, base = spec_from_options(options)
    from auditor import references
    from auditor.audit import execution_settings

    shop = references.workshop(spec, base)
    for note in shop.notes:
        click.echo(f"note: {note}")
    with execution_settings(spec.audit.threads):
        for job in references.jobs(spec.recipe, count, spec.audit.seed):
            path = out / f"{job.name}{shop.suffix}"
            if path.exists():
                click.echo(f"{path} is there already")
                continue
            shop.keep(references.train_job(job, shop.build, shop.retain, spec.audit.device, shop.loss), path)
            click.echo(f"wrote {path}")
    seen = os.path.relpath(out, base)
    names = [f"{seen}/{kind}-*{shop.suffix}" for kind in ("reference", "perturbed")]
    click.echo(f'in audit.toml: references = ["{names[0]}"], perturbed = ["{names[1]}"]')
