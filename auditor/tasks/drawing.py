"""Chance divides subjects, and a request is held to the record of it: what is the same for sets of any kind."""

from collections.abc import Mapping
from pathlib import Path

from auditor.errors import DataError, SpecError
from auditor.randomness import generator
from auditor.records.assignment import read_assignment
from auditor.records.spec import AssignmentSpec

LEAST = 2
"""Subjects on either side: of one alone no spread can be measured."""


def drawn(n: int, share: float, seed: int) -> frozenset[int]:
    """Numbers of the subjects that are held out, each as likely as any other.

    Args:
        n: subjects.
        share: of them that are held out, in (0, 1).
        seed: of the draw.

    Raises:
        DataError: too few for :data:`LEAST` on either side.
    """
    n_held = round(share * n)
    if min(n_held, n - n_held) < LEAST:
        raise DataError(
            f"{n} subjects cannot be divided into {n - n_held} and {n_held}; either side needs {LEAST} at least, and "
            "20 before a verdict can clear"
        )
    return frozenset(generator(seed, "assignment").permutation(n)[:n_held].tolist())


def commitment_of(asked: AssignmentSpec, digests: Mapping[str, str], base: Path) -> str | None:
    """The commitment that was fixed with the draw; None where the request names no record of it.

    Args:
        asked: as in audit.toml.
        digests: of ``forget`` and ``holdout``, as the record holds them.
        base: folder that the record's path is relative to.

    Raises:
        SpecError: the record is of other sets.
        DataError: it cannot be read.
    """
    if asked.record is None:
        return None
    record = read_assignment(base / asked.record)
    other = [name for name, digest in digests.items() if getattr(record, name) != digest]
    if other:
        raise SpecError(
            f"{asked.record} is the record of another draw than data.{other[0]} comes from; give the sets that "
            "`audit assign` wrote, unchanged"
        )
    return record.commitment
