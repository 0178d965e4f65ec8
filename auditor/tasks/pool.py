"""Examples of which nobody says what was to be forgotten, in groups: what ``audit discover`` searches."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from torch import Tensor

from auditor.checks.sets import ExampleSet

ExamplesT = TypeVar("ExamplesT", bound=ExampleSet)


@dataclass(frozen=True, kw_only=True)
class Pool(Generic[ExamplesT]):
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

    examples: ExamplesT
    groups: tuple[str, ...]
    noun: str
    request: str
    # Any: subjects and sets of one task, which alone calls it.
    log_probability: Callable[[Any, Any], Tensor]
    write: Callable[[Any, Path], None]
    suffix: str


AnyPool: TypeAlias = Pool[Any]
