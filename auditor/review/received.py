"""The files of an audit that someone sent, and what is found when they are checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auditor.digests import bytes_digest
from auditor.errors import DataError, UnsafeInputError
from auditor.records.results import Results, parse_results
from auditor.run import audit_folder

State = Literal["holds", "fails", "unchecked", "note"]
MOST_BYTES = 512 * 2**20


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was checked.

    Attributes:
        subject: file, model or data set it is about.
        state: ``holds``, ``fails``, ``unchecked`` where it should have been checked and could not be, or ``note``
            where there is something for the reviewer to judge.
        words: what was found, for a person.
    """

    subject: str
    state: State
    words: str


@dataclass(frozen=True, kw_only=True)
class Received:
    """The files of an audit, read once, so that what is checked are the same bytes throughout.

    Attributes:
        folder: they lie in.
        data: bytes by file name; a missing file is absent.
        sums: the digests listed beside them.
    """

    folder: Path
    data: Mapping[str, bytes]
    sums: Mapping[str, str]

    def altered(self, name: str) -> bool:
        """Whether a file is missing or another one than the list of digests says."""
        return name not in self.data or self.sums.get(name) != bytes_digest(self.data[name])


def receive(folder: Path) -> Received:
    """Read the folder of an audit.

    Raises:
        DataError: it is not one.
        UnsafeInputError: a file in it is too large to be part of one.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the one that holds results.json")
    sums = audit_folder.read_sums(folder)
    found = {}
    # By our own names: those in a received list could lead anywhere.
    for name in (*audit_folder.FILES, audit_folder.ATTESTATION):
        path = folder / name
        if path.is_file():
            if path.stat().st_size > MOST_BYTES:
                raise UnsafeInputError(f"{path} has more than {MOST_BYTES} bytes, more than any audit writes")
            found[name] = path.read_bytes()
    return Received(folder=folder, data=found, sums=sums)


def read_received(received: Received) -> Results | Finding:
    """The results, or why they are none."""
    if audit_folder.RESULTS not in received.data:
        return Finding(subject=audit_folder.RESULTS, state="fails", words="is missing")
    try:
        return parse_results(received.data[audit_folder.RESULTS], "it")
    except DataError as error:
        return Finding(subject=audit_folder.RESULTS, state="fails", words=str(error).removeprefix("it "))
