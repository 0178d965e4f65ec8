"""The errors a person can meet, and the exit code each one maps to.

AuditError                 5  the root; raised itself only for what should never happen
├── UsageError             2  the request cannot be carried out as asked
│   ├── SpecError          2  audit.toml or an option is wrong
│   ├── DataError          2  a data file is missing, unreadable or does not fit
│   └── ModelError         2  a checkpoint or an architecture is missing or does not fit
└── UnsafeInputError       4  a file was refused because reading it could run code or exhaust the machine
"""

import difflib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# Of file names, whose suffixes alone make many of them somewhat alike.
_NEAR = 0.8


class AuditError(Exception):
    """Root of the tree. The message is one sentence for a person: value, expectation, fix."""

    exit_code = 5


class UsageError(AuditError):
    """The request cannot be carried out as asked."""

    exit_code = 2


class SpecError(UsageError):
    """A field of ``audit.toml`` or a command-line option is wrong."""


class DataError(UsageError):
    """A data file is missing, unreadable, or does not fit the request."""


class ModelError(UsageError):
    """A checkpoint or its architecture is missing, or the two do not fit."""


class UnsafeInputError(AuditError):
    """A file was refused because reading it could run code or exhaust the machine."""

    exit_code = 4


def nearest(name: str, known: Iterable[str]) -> str:
    """How a message that refuses a name goes on: what may have been meant, and what there is.

    >>> nearest("fewshot", ["cka", "few_shot"])
    '; did you mean few_shot? There are: cka, few_shot'
    >>> nearest("x", ["cka"])
    '; there are: cka'
    """
    names = list(known)
    close = difflib.get_close_matches(name.lower(), names)
    guess = f"did you mean {' or '.join(close)}? There are" if close else "there are"
    return f"; {guess}: {', '.join(names)}"


def near_paths(source: str | Path, base: Path, otherwise: str = "correct the path") -> str:
    """How a message about a path that is not there goes on: the paths that may have been meant.

    Args:
        source: as given; of a path whose folder is missing, that folder's name is looked at.
        base: folder that it is relative to.
        otherwise: what is said where nothing has a name like it.
    """
    steps = [*reversed(Path(source).parents), Path(source)]
    missing = next((step for step in steps if not os.path.exists(base / step)), None)
    found: list[str] = []
    # A folder that is closed to the user has no names to offer.
    with suppress(OSError):
        if missing is not None:
            # What does not print may be a stranger's, and would move the cursor or reorder the text.
            names = sorted(name for name in os.listdir(base / missing.parent) if name.isprintable())
            rest = Path(source).relative_to(missing)
            close = [
                missing.parent / name / rest for name in difflib.get_close_matches(missing.name, names, cutoff=_NEAR)
            ]
            # A folder of nearly the name helps only where what was wanted lies in it.
            found = [str(path) for path in close if os.path.exists(base / path)]
    return f"; did you mean {' or '.join(found)}?" if found else f"; {otherwise}"
