"""The files of an audit that someone sent, and what is found when they are checked."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auditor.digests import bytes_digest
from auditor.errors import DataError, UnsafeInputError
from auditor.records.results import Results, parse_results
from auditor.review.packed import unpacked
from auditor.run import audit_folder

State = Literal["holds", "fails", "unchecked", "note"]
MOST_BYTES = 512 * 2**20
_NAMES = (*audit_folder.FILES, audit_folder.SUMS, audit_folder.ATTESTATION)
# What the outermost object of each file holds, and that of no other.
_KEYS = {
    audit_folder.RESULTS: {"verdict", "evidence"},
    audit_folder.SCORES: {"scores"},
    audit_folder.PLAN: {"checks", "policy", "models"},
    audit_folder.ATTESTATION: {"payload", "signatures"},
}


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
        folder: they lie in; of a packed audit, the archive.
        data: bytes by file name; a missing file is absent.
        sums: the digests listed beside them; empty where no list arrived.
        whole: whether it came as a whole, so that a file of the list which is not there is missing; single files are
            what somebody chose to send.
    """

    folder: Path
    data: Mapping[str, bytes]
    sums: Mapping[str, str]
    whole: bool

    def altered(self, name: str) -> bool:
        """Whether a file is missing or another one than the list of digests says; nothing is without a list."""
        if not self.sums or (name not in self.data and not self.whole):
            return False
        return name not in self.data or self.sums.get(name) != bytes_digest(self.data[name])


def receive(paths: Path | Sequence[Path]) -> Received:
    """Read what arrived: the folder of an audit, an archive by ``audit pack``, or single files of an audit.

    Raises:
        DataError: nothing of it belongs to an audit.
        UnsafeInputError: a file is too large to be part of one, or an archive is none that the auditor packs.
    """
    given = [paths] if isinstance(paths, Path) else list(paths)
    for path in given:
        if not path.exists():
            raise DataError(f"{path} does not exist; give a folder, a packed audit, or files of an audit")
    if len(given) == 1 and given[0].is_dir():
        # By our own names: those in a received list could lead anywhere.
        found = {name: _bounded(given[0] / name) for name in _NAMES if (given[0] / name).is_file()}
        return _received(given[0], found, whole=True)
    if len(given) == 1 and zipfile.is_zipfile(given[0]):
        return _received(given[0], unpacked(given[0]), whole=True)
    found = {}
    for path in given:
        if path.is_dir():
            raise DataError(f"{path} is a folder among files; give the folder alone, or its files")
        data = _bounded(path)
        found[_name_of(path, data)] = data
    return _received(given[0].parent, found, whole=False)


def _received(folder: Path, found: Mapping[str, bytes], *, whole: bool) -> Received:
    listed = audit_folder.parse_sums(found[audit_folder.SUMS], folder) if audit_folder.SUMS in found else {}
    if not set(found) - {audit_folder.SUMS}:
        raise DataError(f"{folder} holds no file of an audit ({', '.join(audit_folder.FILES)}); give the one that does")
    data = {name: content for name, content in found.items() if name != audit_folder.SUMS}
    return Received(folder=folder, data=data, sums=listed, whole=whole and bool(listed))


def _bounded(path: Path) -> bytes:
    if path.stat().st_size > MOST_BYTES:
        raise UnsafeInputError(f"{path} has more than {MOST_BYTES} bytes, more than any audit writes")
    return path.read_bytes()


def _name_of(path: Path, data: bytes) -> str:
    """Which file of an audit this is: by its name, or by what only that one holds, since mail renames."""
    if path.name in _NAMES:
        return path.name
    if data.lstrip()[:9].lower() == b"<!doctype":
        return audit_folder.REPORT
    try:
        keys = set(parsed) if isinstance(parsed := json.loads(data), dict) else set()
    except (ValueError, RecursionError):
        keys = set()
    for name, own in _KEYS.items():
        if own <= keys:
            return name
    raise DataError(f"{path} is no file of an audit; give one of {', '.join(_NAMES)}, or a folder, or a packed audit")


def absent(received: Received) -> tuple[State, str]:
    """What it means that a file is not there: of a whole it is missing, of single files it was not sent."""
    return ("fails", "is missing") if received.whole else ("unchecked", "did not arrive")


def read_received(received: Received) -> Results | Finding:
    """The results, or why they are none."""
    if audit_folder.RESULTS not in received.data:
        state, words = absent(received)
        return Finding(subject=audit_folder.RESULTS, state=state, words=words)
    try:
        return parse_results(received.data[audit_folder.RESULTS], "it")
    except DataError as error:
        return Finding(subject=audit_folder.RESULTS, state="fails", words=str(error).removeprefix("it "))
