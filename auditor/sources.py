"""What a user gives as text with parts: ``file:part``, ``module.py:function``, ``name=value``."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from auditor.digests import file_digest
from auditor.errors import SpecError

_COLUMNS = re.compile(r"(.+\.\w+)(\[[^\[\]]+\])")
LIBRARIES = ("timm", "torchvision")
"""Packages whose networks an architecture may name, as in ``timm:resnet18``."""


HUB = "hf:"
"""What a name on the Hugging Face hub begins with, as in ``hf:org/model``."""


def split_source(source: str, base: Path) -> tuple[str, str]:
    """(path, part inside it): what stands behind the last colon, or in brackets, unless the whole is a path.

    Args:
        source: such as ``file.npz``, ``images.zip:train``, ``data.py:function`` or ``facts.csv[question,answer]``.
        base: folder that relative paths start from.

    >>> split_source("images.zip:train", Path("."))
    ('images.zip', 'train')
    >>> split_source("images.zip", Path("."))
    ('images.zip', '')
    >>> split_source("facts.csv[question,answer]", Path("."))
    ('facts.csv', '[question,answer]')
    """
    # A path may hold colons and brackets of its own.
    if (base / source).exists():
        return source, ""
    columns = _COLUMNS.fullmatch(source)
    if columns is not None:
        return columns[1], columns[2]
    location, colon, part = source.rpartition(":")
    return (location, part) if colon else (source, "")


def split_code(source: str) -> tuple[str, str] | None:
    """(path, function) of ``module.py:function``; None for anything else.

    Other than :func:`split_source` it asks no disk: whether something is code may not depend on which files are there.

    >>> split_code("network.py:build")
    ('network.py', 'build')
    >>> split_code("network.pt") is None
    True
    """
    location, _, name = source.rpartition(":")
    return (location, name) if location.endswith(".py") else None


def names_library(source: str) -> bool:
    """Whether an architecture is one that an installed package knows by name; no path, and no code of the user's.

    >>> names_library("timm:resnet18?num_classes=10"), names_library("timm.py:build")
    (True, False)
    """
    return source.partition(":")[0] in LIBRARIES


def names_hub(source: str) -> bool:
    """Whether a model or a set is named as the Hugging Face hub knows it."""
    return source.startswith(HUB)


def named_values(pairs: Iterable[str], where: str) -> dict[str, object]:
    """Arguments out of ``name=value``: a value that is JSON is what JSON says, any other is text.

    Args:
        pairs: such as ``num_classes=10``.
        where: what they were given in, named in errors.

    Raises:
        SpecError: a pair without a name or an equals sign, a name that is given twice, or null.

    >>> named_values(["num_classes=10", "pool=max", "bias=false"], "--argument")
    {'num_classes': 10, 'pool': 'max', 'bias': False}
    """
    found: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name.isidentifier() or not equals:
            raise SpecError(f"{where}: {pair!r} is not of the form name=value; write it so")
        if name in found:
            raise SpecError(f"{where}: {name} is given twice; give it once")
        found[name] = _value(value)
        if found[name] is None:
            raise SpecError(f"{where}: {name} = null: audit.toml has no such value; leave {name} out")
    return found


def _value(text: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value


def digest_of_file_behind(source: object, base: Path) -> str | None:
    """SHA-256 of the one file a set was read from (``file.npz``, ``images.zip:part``).

    Args:
        source: a path with or without a part; anything else was in memory.
        base: folder that relative paths start from.

    Returns:
        The digest; None for folders, for code and for what was in memory.
    """
    if not isinstance(source, str | Path):
        return None
    path = base / split_source(str(source), base)[0]
    # Code makes its data when it runs, so its file says nothing of them.
    return file_digest(path) if path.suffix != ".py" and path.is_file() else None
