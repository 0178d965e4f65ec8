"""``audit init``: an audit.toml drafted from files, or a commented one written from the types that read it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Unpack, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from auditor.cli.examples import examples
from auditor.cli.options import MODELS_AND_DATA, Options, at_hand, by_section, spec_options
from auditor.errors import SpecError, nearest
from auditor.records.base import Frozen
from auditor.records.draft import draft_text, toml
from auditor.records.spec import FILE_NAME, AuditSpec, make_spec

_NEXT = "audit compare --dry-run"


@click.command(
    epilog=examples(
        "audit init original.pt unlearned.pt --forget forget.npz --retain retain.npz",
        "audit init original unlearned --forget forget.jsonl --retain retain.jsonl",
        "audit init original unlearned --benchmark tofu-forget10 TOFU",
        "audit init --force",
    )
)
@click.argument("original", required=False)
@click.argument("unlearned", required=False)
@spec_options(*MODELS_AND_DATA)
@click.option(
    "--benchmark",
    type=(str, click.Path(path_type=Path)),
    metavar="NAME FOLDER",
    help="Sets and template of a published benchmark, from a local copy: tofu-forget10, muse-news, wmdp-bio or rwku.",
)
@click.option("--force", is_flag=True, help=f"Replace an existing {FILE_NAME}.")
def init(force: bool, benchmark: tuple[str, Path] | None, **options: Unpack[Options]) -> None:
    """Write an audit.toml to the working directory: of the files given, what they are and what they leave open.

    Without files, every field with its meaning. Nothing is scored, and nothing out of the files is executed but the
    architecture that you name.
    """
    path = Path(FILE_NAME)
    if path.exists() and not force:
        raise SpecError(f"{FILE_NAME} exists already; --force replaces it")
    if not any(options.values()) and benchmark is None:
        path.write_text(template(), encoding="utf-8")
        click.echo(f"wrote {FILE_NAME}; fill in [models] and [data], then: {_NEXT}")
        return
    from auditor.drafting import draft
    from auditor.reports.formats import clean

    # Without the file that may be there: it is going to be replaced.
    spec = at_hand(make_spec(_tables(benchmark), by_section(options, Path())), Path(), options)
    lines = draft(spec, Path(), benchmark and benchmark[0])
    path.write_text(draft_text(lines), encoding="utf-8")
    click.echo(f"wrote {FILE_NAME}")
    for line in (line for line in lines if line.open and line.why):
        click.echo(f"{'needed' if line.needed else 'open'}: {line.field}: {clean(line.why)}")
    waits = ", once what is needed is filled in" if any(line.needed for line in lines) else ""
    click.echo(f"next{waits}: {_NEXT}")


def _tables(benchmark: tuple[str, Path] | None) -> Mapping[str, object]:
    """What a benchmark asks for, over which the options are laid."""
    if benchmark is None:
        return {}
    from auditor.tasks.causal_lm.benchmarks import BENCHMARKS, asked_by

    name, folder = benchmark
    if name not in BENCHMARKS:
        raise SpecError(f"there is no benchmark called {name!r}{nearest(name, BENCHMARKS)}")
    return asked_by(name, folder)


def template() -> str:
    """The file's text: every field with its meaning, commented out at its default or, without one, an example."""
    lines = ["# What to audit, and how. Paths are relative to this file. `audit compare` reads it."]
    for section, field in AuditSpec.model_fields.items():
        kind = field.annotation
        assert isinstance(kind, type), "every section is a record"
        assert issubclass(kind, Frozen), "every section is a record"
        lines += ["", f"# {_first_line(kind)}", f"[{section}]"]
        for name, entry in kind.model_fields.items():
            lines.append(f"# {entry.description}{_choices(entry)}{' (not set; an example:)' if _unset(entry) else ''}")
            lines.append(f"# {name} = {toml(_shown(entry))}")
    return "\n".join(lines) + "\n"


def _first_line(kind: type[Frozen]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _choices(entry: FieldInfo) -> str:
    """The words a field may take, whether or not it may also be left out."""
    kinds = [entry.annotation, *get_args(entry.annotation)]
    words = [get_args(kind) for kind in kinds if get_origin(kind) is Literal]
    return f": {', '.join(words[0])}" if words else ""


def _unset(entry: FieldInfo) -> bool:
    return entry.get_default() in (None, (), {})


def _shown(entry: FieldInfo) -> object:
    """TOML has no word for None: a field without a default shows its example."""
    return entry.examples[0] if _unset(entry) and entry.examples else entry.get_default()
