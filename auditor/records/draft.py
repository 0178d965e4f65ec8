"""A drafted audit.toml: what was found in the files, how it is known, and what is left to a person."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from auditor.records.spec import AuditSpec

_HEAD = """\
# Written by `audit init`: what it found, and behind it how it knows. What begins with # is yours to decide.
# Paths are relative to this file. `audit init` without files writes every field with its meaning.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One field of a drafted audit.toml.

    Attributes:
        field: section and name, such as ``data.forget``.
        value: what was found; of an open one an example.
        why: how it is known; of an open one what has to be decided. Empty where the line above says it.
        open: whether it is left to a person, so that it stands commented out.
        needed: whether no audit can be planned before it is decided.
    """

    field: str
    value: object
    why: str
    open: bool = False
    needed: bool = False


def toml(value: object) -> str:
    r"""A value as TOML writes it.

    >>> toml(["a\\b", 3, True])
    '["a\\\\b", 3, true]'
    >>> toml({"num_classes": 10})
    '{num_classes = 10}'
    """
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(key)} = {toml(item)}' for key, item in value.items())}}}"
    # JSON's strings and booleans are TOML's, but for one character that TOML wants escaped.
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)


def _key(name: str) -> str:
    """A key as TOML writes it: bare where it may stand so."""
    return name if name.isascii() and name.isidentifier() else toml(name)


def in_order(lines: Sequence[Line]) -> list[Line]:
    """One line for each field, the last one said of it, in the order of audit.toml."""
    known = {line.field: line for line in lines}
    fields = [f"{section}.{name}" for section, names in _sections().items() for name in names]
    return [known[field] for field in fields if field in known]


def draft_text(lines: Sequence[Line]) -> str:
    """The text of audit.toml.

    Args:
        lines: in order (:func:`in_order`).
    """
    parts = [_HEAD]
    for section in _sections():
        own = [line for line in lines if line.field.startswith(f"{section}.")]
        if own:
            parts.append("\n".join([f"[{section}]", *map(_written, own)]) + "\n")
    return "\n".join(parts)


def _sections() -> dict[str, list[str]]:
    default = AuditSpec()
    return {name: list(type(getattr(default, name)).model_fields) for name in AuditSpec.model_fields}


def _written(line: Line) -> str:
    # A name out of a stranger's file may hold what ends a comment.
    why = "".join(c if c.isprintable() else " " for c in line.why)
    assigned = f"{line.field.partition('.')[2]} = {toml(line.value)}"
    if line.open:
        return f"# open: {why}\n# {assigned}" if why else f"# {assigned}"
    return f"{assigned}  # {why}" if why else assigned
