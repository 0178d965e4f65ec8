"""``audit zoo``."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from auditor.cli.examples import examples
from auditor.cli.options import Options, spec_from_options, spec_options
from auditor.errors import SpecError, UsageError

if TYPE_CHECKING:
    from auditor.zoo.catalogue import Entry

_WIDTH = 119


@click.group(epilog=examples("audit zoo list", "audit zoo make neg_grad_plus original.pt --out suppressed.pt"))
def zoo() -> None:
    """Unlearning methods, and constructions whose truth is known, to try the auditor on."""


@zoo.command("list", epilog=examples("audit zoo list"))
def list_methods() -> None:
    """Show the methods: what is known of their result, mechanism, requests, source and settings."""
    from auditor.zoo.catalogue import entries, tasks

    pages = [[f"task {task}", *(_lines(e) for e in entries() if e.task == task)] for task in tasks()]
    click.echo("\n\n".join("\n".join(page) for page in pages))


@zoo.command(
    epilog=examples(
        "audit zoo make neg_grad_plus original.pt --out suppressed.pt",
        "audit zoo make fine_tune original.pt --set epochs=3 --out tuned.pt",
    )
)
@click.argument("method")
@click.argument("original", required=False)
# What making a subject reads of a request; how an audit runs is none of it.
@spec_options(
    *("config", "forget", "retain", "classes", "architecture", "arguments", "request", "seed", "threads"),
    *("allow_download",),
)
@click.option("--set", "given", multiple=True, metavar="KEY=VALUE", help="A setting of the method; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Checkpoint, or folder for text.")
def make(method: str, given: tuple[str, ...], out: Path, **options: Unpack[Options]) -> None:
    """Make a subject from ORIGINAL by METHOD, with the forget and retain sets of audit.toml."""
    values = _nested(given)
    # Said before the work, which may be long.
    if out.exists():
        raise UsageError(f"{out} is there already; choose another --out")
    spec, base = spec_from_options(options)
    from auditor.run.settings import execution_settings
    from auditor.zoo import making

    found = making.ingredients(spec, base)
    for note in found.notes:
        click.echo(f"note: {note}")
    with execution_settings(spec.audit.threads):
        found.keep(making.make(method, found, values, spec.audit.seed), out)
    click.echo(f"wrote {out}")


def _nested(given: tuple[str, ...]) -> dict[str, object]:
    """Settings by name; a dotted name stands for a setting inside a setting."""
    values: dict[str, object] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        *outer, last = name.split(".")
        table: object = values
        for part in outer:
            table = table.setdefault(part, {}) if isinstance(table, dict) else None
        if not equals or not last or not isinstance(table, dict):
            raise SpecError(f"--set {pair} does not fit: expected KEY=VALUE, as in --set learning_rate=0.001")
        table[last] = value
    return values


def _lines(entry: "Entry") -> str:
    settings = ", ".join(entry.settings_kind().model_fields) or "none"
    paragraphs = [f"{entry.family}; requests: {', '.join(entry.requests)}; paper: {entry.paper}; settings: {settings}"]
    if entry.original or not entry.keeps_architecture:
        from auditor.zoo.making import python_only

        paragraphs.append(python_only(entry))
    indented = [textwrap.fill(p, _WIDTH, initial_indent="  ", subsequent_indent="    ") for p in paragraphs]
    return "\n".join([f"{entry.name}   {entry.truth}", *indented])
