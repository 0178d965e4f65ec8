"""``audit reference``."""

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from auditor.cli.examples import examples
from auditor.cli.options import Options, spec_from_options, spec_options
from auditor.errors import UsageError

if TYPE_CHECKING:
    from auditor.records.spec import AuditSpec

# The exit code of what could not be decided.
_UNRESOLVED = 3


@click.command(
    epilog=examples(
        "audit reference --count 8",
        "audit reference --until-resolved",
    )
)
# The references are what is made here, and no unlearned model is looked at.
@spec_options(
    *("config", "forget", "retain", "retain_test", "holdout", "control", "classes", "architecture"),
    *(
        "allow_download",
        "arguments",
        "task",
        "request",
        "goal",
        "base",
        "checks",
        "policy",
        "seed",
        "device",
        "dtype",
        "threads",
        "batch_size",
    ),
)
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True, help="References to train.")
@click.option(
    "--until-resolved",
    is_flag=True,
    help="Then add references one by one until the primary checks resolve what DELETED needs, or --max-count.",
)
@click.option("--max-count", type=click.IntRange(1, 100), default=12, show_default=True, help="References at most.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("references"), show_default=True, help="Folder.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
def reference(
    count: int, until_resolved: bool, max_count: int, out: Path, quiet: bool, **options: Unpack[Options]
) -> int:
    """Train references from the retain set by the recipe in audit.toml, and two by a perturbed recipe.

    What is there already is not trained again. A folder that holds references made differently is refused.
    """
    spec, base = spec_from_options(options)
    if until_resolved:
        _check_can_resolve(spec, count, max_count)
    from auditor.cli.reference_run import ReferenceRun
    from auditor.cli.terminal import Terminal
    from auditor.models import references
    from auditor.run.settings import execution_settings
    from auditor.tasks import registry

    shop = registry.workshop(spec, base)
    console = Terminal()
    for note in shop.notes:
        console.say(f"note: {note}")
    jobs = references.jobs(spec.recipe, count, spec.audit.seed)
    # Before any training: a folder of another making costs a sentence then, not hours.
    shop.check_folder(out, jobs)
    with execution_settings(spec.audit.threads):
        run = ReferenceRun(spec, base, shop, out, quiet)
        for job in jobs:
            run.make(job)
        resolved = not until_resolved or run.resolve(count, max_count)
    run.show()
    names = run.patterns(("reference-*", "perturbed-*"))
    console.say(f'in audit.toml: references = ["{names[0]}"], perturbed = ["{names[1]}"]')
    return 0 if resolved else _UNRESOLVED


def _check_can_resolve(spec: "AuditSpec", count: int, max_count: int) -> None:
    from auditor.run.resolving import FEWEST

    if spec.models.original is None:
        raise UsageError(
            "--until-resolved scores the original beside the references; set models.original in audit.toml"
        )
    if count < FEWEST:
        raise UsageError(f"--until-resolved needs {FEWEST} references to start from; raise --count {count}")
    if max_count < count:
        raise UsageError(f"--max-count {max_count} lies below --count {count}; raise it")
