"""``audit reference``."""

import os
from pathlib import Path
from typing import Any

import click

from auditor.cli.compare import spec_from_options, spec_options
from auditor.errors import SpecError


@click.command()
@spec_options
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True, help="References to train.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("references"), show_default=True, help="Folder.")
def reference(count: int, out: Path, **options: Any) -> None:
    """Train references from the retain set by the recipe in audit.toml, and two by a perturbed recipe.

    What is there already is not trained again.
    """
    spec, base = spec_from_options(options)
    if spec.models.architecture is None or spec.data.forget is None or spec.data.retain is None:
        raise SpecError("audit reference needs models.architecture, data.forget and data.retain")
    from auditor import inputs, references
    from auditor.audit import execution_settings
    from auditor.data import Preprocessing
    from auditor.loading.architecture import load_architecture

    architecture = load_architecture(spec.models.architecture, base)
    shape = Preprocessing(resize=spec.data.resize, mean=spec.data.mean, std=spec.data.std)
    found = inputs.gather(spec, {}, base, shape)
    assert found is not None, "forget and retain are given"
    for note in found.notes:
        click.echo(f"note: {note}")
    with execution_settings(spec.audit.threads):
        for job in references.jobs(spec.recipe, count, spec.audit.seed):
            path = out / f"{job.name}.pt"
            if path.is_file():
                click.echo(f"{path} is there already")
                continue
            module = references.train_job(job, architecture.function, found.sets["retain"], spec.audit.device)
            references.save(module, path)
            click.echo(f"wrote {path}")
    seen = os.path.relpath(out, base)
    click.echo(f'in audit.toml: references = ["{seen}/reference-*.pt"], perturbed = ["{seen}/perturbed-*.pt"]')
