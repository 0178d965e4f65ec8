"""Scores on disk, by the digest of everything they depend on. A killed audit resumes from here."""

import hashlib
import os
import tempfile
from pathlib import Path

from pydantic import ValidationError

from auditor.scores import Frozen, Score


class _Stored(Frozen):
    """A score file: the score and the digest of its own text, so that a damaged file is noticed."""

    digest: str
    score: str


class ScoreStore:
    """A folder of score files named by their keys.

    Args:
        folder: made when the first score is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Score | None:
        """The stored score, or None where there is none or its file is damaged and must be computed again."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            stored = _Stored.model_validate_json(path.read_text(encoding="utf-8"))
            if stored.digest != _digest(stored.score):
                return None
            return Score.model_validate_json(stored.score)
        except (ValidationError, UnicodeDecodeError):
            return None

    def put(self, key: str, score: Score) -> None:
        """Write a score so that a reader sees all of it or nothing."""
        text = score.model_dump_json()
        write_atomically(self._path(key), _Stored(digest=_digest(text), score=text).model_dump_json())

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def write_atomically(path: Path, text: str) -> None:
    """Replace ``path`` in one step; a crash leaves the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
