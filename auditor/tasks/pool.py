"""Examples of which nobody says what was to be forgotten, in groups: what ``audit discover`` searches."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from auditor.checks.sets import ExampleSet


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A set whose examples are of named groups.

    Attributes:
        examples: all of them.
        groups: name of the group of each example.
        noun: what a group is, in the plural.
        request: kind of request under which two parts of the pool are sets of one audit.
        log_probability: of the right answer under one subject, without gradients, float64 [n]; of facts the mean over
            the answer's tokens.
        write: writes a part of the pool as a set that an audit reads.
        suffix: of such a file.
    """

    examples: ExampleSet
    groups: tuple[str, ...]
    noun: str
    request: str
    # Of subjects and sets of one task, as it is handed them back.
    log_probability: Callable[..., Tensor]
    write: Callable[..., None]
    suffix: str
