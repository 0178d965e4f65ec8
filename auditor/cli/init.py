"""``audit init``: a commented audit.toml, written from the types that read it."""

from pathlib import Path
from typing import Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from auditor.errors import SpecError
from auditor.records.base import Frozen
from auditor.records.spec import FILE_NAME, AuditSpec


@click.command()
@click.option("--force", is_flag=True, help=f"Replace an existing {FILE_NAME}.")
def init(force: bool) -> None:
    """Write a commented audit.toml to the working directory."""
    path = Path(FILE_NAME)
    if path.exists() and not force:
        raise SpecError(f"{FILE_NAME} exists already; --force replaces it")
    path.write_text(template(), encoding="utf-8")
    click.echo(f"wrote {FILE_NAME}; fill in [models] and [data], then: audit compare --dry-run")


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
            lines.append(f"# {name} = {_toml(_shown(entry))}")
    return "\n".join(lines) + "\n"


def _first_line(kind: type[Frozen]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _choices(entry: FieldInfo) -> str:
    """The words a field may take, whether or not it may also be left out."""
    kinds = [entry.annotation, *get_args(entry.annotation)]
    words = [get_args(kind) for kind in kinds if get_origin(kind) is Literal]
    return f": {', '.join(words[0])}" if words else ""


def _unset(entry: FieldInfo) -> bool:
    return entry.get_default() in (None, ())


def _shown(entry: FieldInfo) -> object:
    """TOML has no word for None: a field without a default shows its example."""
    return entry.examples[0] if _unset(entry) and entry.examples else entry.get_default()


def _toml(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
