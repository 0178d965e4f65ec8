"""The errors a person can meet, and the exit code each one maps to.

AuditError                 5  the root; raised itself only for what should never happen
├── UsageError             2  the request cannot be carried out as asked
│   ├── SpecError          2  audit.toml or an option is wrong
│   ├── DataError          2  a data file is missing, unreadable or does not fit
│   └── ModelError         2  a checkpoint or an architecture is missing or does not fit
└── UnsafeInputError       4  a file was refused because reading it could run code or exhaust the machine
"""

import difflib
from collections.abc import Iterable


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
