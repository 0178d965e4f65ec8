"""The process that has checkpoint files read: one for this process, started when it is first needed.

What takes long is importing torch, which it does once. For every file it then forks (:mod:`auditor.loading.reader`):
the fork limits itself for good, sees that file alone and ends, so that no file can have an influence on the next.
"""

import atexit
import json
import os
import subprocess
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path

from auditor.loading.child import last_words, start_module

_SECONDS_TO_STOP = 5


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What became of one file.

    Attributes:
        said: what the fork that read it said of it (:func:`auditor.loading.reader.read_file`); empty where it died.
        last_words: how that fork ended, for a person.
    """

    said: dict[str, object]
    last_words: str


class Ended(Exception):
    """The process itself ended, or never started; the message says how."""


class ReadingProcess:
    """A process with torch imported that reads file after file, each in a fork of its own."""

    def __init__(self) -> None:
        # A file: a pipe would have to be emptied while something is read.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._pipe, theirs = Pipe()
        self._process = start_module("auditor.loading.reader", theirs, self._errors)
        # Held by this process too, it would hide the other's end.
        theirs.close()

    def read(self, source: Path, target: Path, seconds: float) -> Reply:
        """Have one file read and written as safetensors.

        Raises:
            Ended: the process is gone.
            TimeoutError: it took longer than ``seconds``; :meth:`close` ends what is still being done.
        """
        self._errors.seek(0)
        self._errors.truncate()
        # It was started in what may be another working directory.
        paths = {"name": os.fspath(source), "source": os.path.abspath(source), "target": os.path.abspath(target)}
        try:
            self._pipe.send_bytes(json.dumps(paths).encode())
            if not self._pipe.poll(seconds):
                raise TimeoutError
            reply = json.loads(self._pipe.recv_bytes())
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise Ended(last_words(self._process.wait(), self._said())) from None
        return Reply(said=reply["said"], last_words=last_words(reply["status"], self._said()))

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def has_ended(self) -> bool:
        """Whether it is gone, for whatever reason."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End it with the fork that is reading, if one is."""
        # Its end of the pipe tells it so, and it ends the fork, of which this process does not know.
        self._pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_STOP)
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def leave_to_parent(self) -> None:
        """In a fork of the process that started it: let go of it."""
        # Held here too, the pipe would keep it alive after the parent; sharing it would mix up two conversations.
        self._pipe.close()
        self._errors.close()
        # Is told that it is no child of this process, and asks no more.
        self._process.poll()


_turn = threading.Lock()
_kept: ReadingProcess | None = None


def read_in_process(source: Path, target: Path, seconds: float) -> Reply:
    """Have one file read by this process's reading process, which is kept only after a file without any finding.

    Raises:
        Ended: the process did not start, or was ended.
        TimeoutError: it took longer than ``seconds``.
    """
    global _kept
    with _turn:
        process, _kept = _alive() or ReadingProcess(), None
        try:
            reply = process.read(source, target, seconds)
            # Forks share their parent's addresses: no second file may use what an attack has learned of them.
            _kept = process if "digest" in reply.said else None
        finally:
            if _kept is None:
                process.close()
    return reply


def _alive() -> ReadingProcess | None:
    """The one that is kept; someone may have killed it meanwhile."""
    if _kept is not None and _kept.has_ended():
        end()
    return _kept


def _leave_to_parent() -> None:
    global _kept, _turn
    # Another thread of the parent may hold the lock, and will never give it back in this process.
    _turn = threading.Lock()
    if _kept is not None:
        _kept.leave_to_parent()
        _kept = None


def end() -> None:
    """End the process, where one runs; the next file has a new one started."""
    global _kept
    if _kept is not None:
        _kept.close()
        _kept = None


# A parent that dies without this ends it too, by the end of the pipe.
atexit.register(end)
os.register_at_fork(after_in_child=_leave_to_parent)
