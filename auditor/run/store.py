"""Scores on disk, by the digest of everything they depend on. A killed audit resumes from here."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from auditor.digests import text_digest
from auditor.records.base import Frozen
from auditor.records.score import Score
from auditor.run.machine import Machine

_MACHINE = "machine.json"


class _Stored(Frozen):
    """A score file: the score and the digest of its key and text, so that a damaged or misplaced file is noticed."""

    digest: str
    # Text, since the digest is over characters: written again, a record might differ in them.
    score: str


class ScoreStore:
    """A folder of score files named by their keys, one folder for each kind of machine.

    Machines that share a file system share their scores where they are alike, and never mix them where they are not.

    Args:
        folder: made when the first score is written.
        machine: that this process runs on.
    """

    def __init__(self, folder: Path, machine: Machine) -> None:
        self._all = folder
        self._machine = machine
        self._folder = folder / machine.digest[:16]

    def get(self, key: str) -> Score | None:
        """The stored score, or None where there is none or its file is damaged and must be computed again."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            stored = _Stored.model_validate_json(path.read_text(encoding="utf-8"))
            if stored.digest != _digest(key, stored.score):
                return None
            return Score.model_validate_json(stored.score)
        except (ValidationError, UnicodeDecodeError):
            return None

    def put(self, key: str, score: Score) -> None:
        """Write a score so that a reader sees all of it or nothing."""
        if not (self._folder / _MACHINE).is_file():
            write_atomically(self._folder / _MACHINE, self._machine.model_dump_json())
        text = score.model_dump_json()
        write_atomically(self._path(key), _Stored(digest=_digest(key, text), score=text).model_dump_json())

    def unlike(self, keys: Iterable[str]) -> tuple[str, ...]:
        """In what other machines differ that have finished some of these scores, one entry for each machine."""
        names = [f"{key}.json" for key in keys]
        others = [path.parent for path in sorted(self._all.glob(f"*/{_MACHINE}")) if path.parent != self._folder]
        known = [other for other in others if any((other / name).is_file() for name in names)]
        return tuple(self._differs(other / _MACHINE) for other in known)

    def _differs(self, path: Path) -> str:
        try:
            return self._machine.unlike(Machine.model_validate_json(path.read_bytes()))
        except ValidationError:
            return f"nobody knows in what, since {path} is damaged"

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def write_atomically(path: Path, text: str | bytes) -> None:
    """Replace ``path`` in one step; a crash leaves the old file or the new one, never half."""
    write_together({path: text})


def write_together(texts: Mapping[Path, str] | Mapping[Path, str | bytes]) -> None:
    """Replace several files. None is touched before all of them have been written: a full disk leaves the old ones.

    Raises:
        OSError: naming the file that could not be written.
    """
    staged: dict[Path, str] = {}
    try:
        for path, text in texts.items():
            with _naming(path):
                staged[path] = _stage(path, text)
        for path, name in staged.items():
            with _naming(path):
                Path(name).replace(path)
    finally:
        # What was renamed is not here any more; the rest of an interrupted writing goes.
        for name in staged.values():
            Path(name).unlink(missing_ok=True)


def _stage(path: Path, text: str | bytes) -> str:
    """The whole text on disk beside ``path``, under another name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place: a rename is one step only within a file system.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        # The same line ends on every system: digests are of these bytes.
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8") if isinstance(text, str) else text)
            file.flush()
            # Otherwise the rename may reach the disk before the text does.
            os.fsync(file.fileno())
        # mkstemp lets nobody but the owner read it.
        Path(name).chmod(0o644)
    # An interrupt leaves no half file behind either.
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return name


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """An error of the system that names the file a person knows, not the one beside it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _digest(key: str, text: str) -> str:
    return text_digest(f"{key}\n{text}")
