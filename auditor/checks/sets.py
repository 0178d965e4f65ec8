"""The example sets of one audit, whatever an example is: labelled images, facts, or what another task brings."""

from abc import abstractmethod
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor

SETS = ("forget", "retain", "retain_test", "holdout", "control")
"""As a request names them; retain_test, holdout and control may be absent."""

PAIRS = (
    *(("forget", "retain"), ("forget", "retain_test"), ("retain", "retain_test")),
    *(("forget", "holdout"), ("retain", "holdout")),
    *(("forget", "control"), ("retain", "control")),
)
"""Sets of which the second should hold nothing of the first. What stands in both counts with the first: removing it
from forget would change what the audit is about."""
CONTROL_CONCEPTS = 10
"""Never-trained concepts that make a null for goal ``concept``."""
_NAMED = 5


Assigned = Literal["no", "declared", "committed"]


class ExampleSet(Protocol):
    """Examples of one kind, in the file's order."""

    def __len__(self) -> int:
        """How many."""

    def take(self, indices: Tensor) -> Self:
        """The examples at ``indices``, int64 [m]."""

    @property
    def nbytes(self) -> int:
        """In memory."""

    @property
    def content_hashes(self) -> list[str]:
        """One per example: equal hashes are the same example."""

    @property
    def digest(self) -> str:
        """SHA-256 over everything that an audit uses of them."""


class LabelledSet(ExampleSet, Protocol):
    """Examples of which each belongs to one of several kinds."""

    @property
    def labels(self) -> Tensor:
        """Kind of each example, int64 [n]."""


Example_co = TypeVar("Example_co", bound=ExampleSet, covariant=True)
Example = TypeVar("Example", bound=ExampleSet)


@dataclass(frozen=True, kw_only=True)
class Sets(Generic[Example_co]):
    """The sets of one audit, split and ready.

    Attributes:
        request: what is to be forgotten: ``class``, ``sample`` or ``facts``.
        classes: forgotten classes of a ``class`` request, else empty.
        n_classes: how many classes the models tell apart; 0 where there are none.
        forget_attack: half of the forget set that a probe or attack may train on.
        forget_eval: the other half, only ever measured.
        retain: what should stay.
        retain_test: distributed like retain, never trained on; None where not given.
        holdout: distributed like forget, never trained on; None where not given.
        control: concepts no model was trained on; None where not given.
        assigned: whether chance decided which subjects stand in forget and which in holdout, and by what that is
            known: by the user's word, or by a commitment fixed beforehand.
    """

    request: str
    classes: tuple[int, ...]
    n_classes: int
    forget_attack: Example_co
    forget_eval: Example_co
    retain: Example_co
    retain_test: Example_co | None = None
    holdout: Example_co | None = None
    control: Example_co | None = None
    assigned: Assigned = "no"

    @property
    def by_chance(self) -> bool:
        """Whether holdout is held against forget subject by subject: chance divided them, or someone declares so."""
        return self.assigned != "no"

    def splits(self) -> dict[str, Example_co]:
        """The sets present, by name."""
        named = {
            "forget_attack": self.forget_attack,
            "forget_eval": self.forget_eval,
            "retain": self.retain,
            "retain_test": self.retain_test,
            "holdout": self.holdout,
            "control": self.control,
        }
        return {name: examples for name, examples in named.items() if examples is not None}

    @property
    def utility_split(self) -> str:
        """Name of the set that retain accuracy is measured on: the one nothing was trained on, where it is given."""
        # On what they were trained on models are all but perfect, which hides a recipe that does not match.
        return "retain" if self.retain_test is None else "retain_test"

    @property
    def control_concepts(self) -> tuple[int, ...]:
        """Labels of control concepts with examples enough for a null; none where concepts are not labelled."""
        return ()

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 over every set and the request."""


def overlap(first: ExampleSet, second: ExampleSet) -> list[int]:
    """Indices in ``second`` of examples whose content also stands in ``first``."""
    # By content, so that the cost is not the product of both sizes.
    known = set(first.content_hashes)
    return [i for i, content in enumerate(second.content_hashes) if content in known]


def drop_leaks(sets: MutableMapping[str, Example], noun: str) -> list[str]:
    """Remove from the later set what also stands in the earlier one, and say so.

    Args:
        sets: by name, changed in place: ``forget`` and ``retain``, and where given ``retain_test``, ``holdout`` and
            ``control``.
        noun: what they hold, in the plural.
    """
    notes = []
    # A holdout example that was trained on is no null; a forget example in retain teaches what is to be forgotten.
    for kept, cleaned in PAIRS:
        shared = overlap(sets[kept], sets[cleaned]) if cleaned in sets else []
        if shared:
            inside = set(shared)
            rest = [i for i in range(len(sets[cleaned])) if i not in inside]
            sets[cleaned] = sets[cleaned].take(torch.tensor(rest, dtype=torch.int64))
            notes.append(
                f"leak: {len(shared)} {noun} of {cleaned} are identical to {noun} of {kept} and were left out "
                f"(positions {_some(shared)})"
            )
    return notes


def copy_of(name: str, sets: Mapping[str, ExampleSet]) -> str | None:
    """An earlier set that holds the same examples as the named one, in whatever order; None where there is none."""
    earlier = [kept for kept, other in PAIRS if other == name and kept in sets]
    same = set(sets[name].content_hashes)
    return next((kept for kept in earlier if set(sets[kept].content_hashes) == same), None)


def same_as(name: str, twin: str, noun: str) -> str:
    """What to say of a set that is another one again."""
    return f"{name} holds the same {noun} as {twin}, so that none is left of it; give data.{name} a file of its own"


def near_duplicates(kept: str, other: str, positions: Sequence[int], noun: str) -> list[str]:
    """A line about examples at some positions of ``other`` that are all but equal; none where there are none."""
    if not positions:
        return []
    return [
        f"near duplicates: {len(positions)} {noun} of {other} all but equal {noun} of {kept} (positions "
        f"{_some(positions)}); leave them out of one of the two sets unless they differ in what matters"
    ]


def _some(positions: Sequence[int]) -> str:
    return ", ".join(map(str, positions[:_NAMED])) + (", …" if len(positions) > _NAMED else "")


def sources(given: Mapping[str, object], paths: object) -> dict[str, object]:
    """Where each set comes from: from memory before the request's path; None where it is not given.

    Args:
        given: sets handed over in memory, by name. An empty one is given, too.
        paths: the request's table ``data``, with an attribute for each set.
    """
    # By None and not by truth: an empty set in memory must be refused and not replaced by a file.
    return {name: getattr(paths, name) if given.get(name) is None else given[name] for name in SETS}


def evenly(whole: Example, most: int) -> Example:
    """At most so many examples, evenly spread over a set, since files are often sorted by class."""
    # A stride rounded up, so that no more than `most` are taken.
    return whole.take(torch.arange(0, len(whole), -(-len(whole) // most)))
