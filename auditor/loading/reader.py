"""The reading process: opens untrusted checkpoints, each in a fork of its own, and leaves safetensors behind.

Run as ``python -P -m auditor.loading.reader NUMBER`` by :mod:`auditor.loading.reading_process`, NUMBER being its end of
a pipe. A fork limits itself before it reads the first byte; the process that forks never sees one.
"""

import codecs
import io
import json
import os
import pickle
import re
import shlex
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from auditor.digests import stream_digest
from auditor.errors import ModelError, UnsafeInputError
from auditor.loading.archive import check_zip, identify
from auditor.loading.limits import OUTPUT_FACTOR, limit_this_process
from auditor.loading.tensors import find_state_dict, plain, read_safetensors, refused, shown

# The only way in which a process that has imported torch can start another in milliseconds.
_FORK = get_context("fork")
MAX_FILE_BYTES = 16 * 2**30
# The ways in which torch's messages name what a pickle asks for.
_GLOBAL = re.compile(r"GLOBAL (\S+)|got <class '([^']+)'>|function (\S+)")


def check_size(file_bytes: int, name: object) -> None:
    """Refuse a file beyond ``MAX_FILE_BYTES``."""
    if file_bytes > MAX_FILE_BYTES:
        raise refused(name, f"it has {file_bytes} bytes, and at most {MAX_FILE_BYTES} are read; split or shrink it")


def read_checkpoint(file: IO[bytes], name: object) -> dict[str, Tensor]:
    """Read the named tensors of an untrusted checkpoint, checked from the outside in.

    Args:
        file: open for reading, seekable.
        name: the path as the user gave it, for messages.

    Raises:
        ModelError: cut short, damaged, or not a state dict.
        UnsafeInputError: reading on could run code or exhaust the machine.
    """
    size = file.seek(0, 2)
    check_size(size, name)
    container = identify(file, name)
    if container == "safetensors":
        return read_safetensors(file.read(), name)
    if container == "zip":
        check_zip(file, name)
    tensors = find_state_dict(_unpickle(file, name), name)
    _check_total(tensors, size, name)
    return tensors


def _unpickle(file: IO[bytes], name: object) -> object:
    """``torch.load`` restricted to weights; there is no other way in this program to open a pickle."""
    try:
        # A checkpoint that was saved on a GPU names that device, which need not be here.
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise refused(name, _pickle_reason(str(error), name)) from None
    except MemoryError:
        raise _too_large(name) from None
    except RuntimeError as error:
        # torch has no error of its own for memory that ran out on the processor.
        if "allocate memory" in str(error):
            raise _too_large(name) from None
        raise _damaged(name, error) from None
    # What damage raises depends on where in the file it lies.
    except (EOFError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise _damaged(name, error) from None
    except (ArithmeticError, AssertionError, RecursionError, struct.error) as error:
        raise _damaged(name, error) from None


def _pickle_reason(message: str, name: object) -> str:
    found = _GLOBAL.search(message)
    what = plain(next(filter(None, found.groups()))) if found else None
    holds = f"its pickle asks to run {what}, so it holds" if what else "its pickle is not one of weights alone but of"
    return f"{holds} more than tensors; if you trust it, convert it yourself: {conversion(name, what or '')}"


def conversion(name: object, refused_global: str) -> str:
    """Write the shell command by which the owner of a trusted file turns it into a state dict."""
    # A NumPy number beside the weights is the usual reason for a dictionary to be refused.
    weights = "m['state_dict']" if refused_global.startswith("numpy") else "m.state_dict()"
    load = f"m = torch.load({str(name)!r}, weights_only=False)"
    code = f"import torch; {load}; torch.save({weights}, 'weights.pt')"
    # Between double quotes a shell still acts on these; a command without them stays readable.
    return f"python -c {shlex.quote(code)}" if set('"$`\\!') & set(code) else f'python -c "{code}"'


def _too_large(name: object) -> UnsafeInputError:
    return refused(name, "reading it needs more memory than a file of its size can justify; save it with torch.save")


def _damaged(name: object, error: Exception) -> ModelError:
    first = plain(str(error).split("\n")[0] or type(error).__name__, 120)
    return ModelError(f"{shown(name)} is a cut short or damaged checkpoint ({first}); copy or save it again")


def _check_total(tensors: Mapping[str, Tensor], file_bytes: int, name: object) -> None:
    # Views share a storage: a small file could claim many large tensors, each of which is written apart.
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors.values()}
    written = sum(t.numel() * t.element_size() for t in tensors.values())
    if sum(storages.values()) > file_bytes or written > OUTPUT_FACTOR * file_bytes:
        raise refused(
            name,
            f"its tensors add up to {written} bytes, but the file has {file_bytes}; save each tensor once",
        )


def convert(source: io.BufferedReader, target: IO[bytes], name: object) -> str:
    """Read ``source``, write ``target`` as safetensors, and return the SHA-256 of what was read."""
    # Of the open file that is read: the parent learns by it whether the path led to another one meanwhile.
    digest = stream_digest(source)
    tensors = read_checkpoint(source, name)
    try:
        # Tied tensors are written apart: safetensors has no sharing, and equal bytes load equally.
        # Conjugation and sign may be pending, as flags that raw bytes would lose.
        apart = {key: t.resolve_conj().resolve_neg().contiguous().clone() for key, t in tensors.items()}
        target.write(safetensors.torch.save(apart))
    except MemoryError:
        raise _too_large(name) from None
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise refused(name, f"its tensors cannot be written as safetensors ({plain(error)}); save it again") from None
    return digest


def _read_a_sample() -> None:
    """Read a checkpoint of our own, so that all modules a reader needs are loaded while files can be opened."""
    codecs.lookup("cp437")  # of names in zip files that others wrote
    for zipped in (True, False):
        sample = io.BytesIO()
        torch.save({"w": torch.zeros(1)}, sample, _use_new_zipfile_serialization=zipped)
        safetensors.torch.save(read_checkpoint(sample, "a sample"))


def read_file(name: str, source: str, target: str) -> dict[str, object]:
    """Limit this process for good and read one file.

    Args:
        name: the path as the user gave it, for messages.
        source: where the file is.
        target: where it is written as safetensors.

    Returns:
        ``limits`` as far as they were set, and ``digest`` of what was read or ``error``, a sentence, with its ``kind``:
        ``unsafe`` or ``model``.
    """
    said: dict[str, object] = {}
    try:
        # Both files before the limits: after them nothing can be opened.
        with Path(source).open("rb") as file, Path(target).open("wb") as written:
            size = file.seek(0, 2)
            check_size(size, name)
            said["limits"] = limit_this_process(size)
            return {**said, "digest": convert(file, written, name)}
    except (UnsafeInputError, ModelError) as error:
        kind = "unsafe" if isinstance(error, UnsafeInputError) else "model"
        return {**said, "error": str(error), "kind": kind}


def serve(parent: Connection) -> None:
    """Read one file after the other, until the parent is gone or no longer wants an answer."""
    # Under the limits no thread can be started, and a process with threads cannot be forked safely.
    torch.set_num_threads(1)
    _read_a_sample()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            reply = _read_in_fork(json.loads(parent.recv_bytes()), parent)
            parent.send_bytes(json.dumps(reply).encode())


def _read_in_fork(paths: dict[str, str], parent: Connection) -> dict[str, object]:
    """What the fork said, nothing where it died, and its exit status."""
    ours, theirs = _FORK.Pipe(duplex=False)
    # A daemon: should this process be interrupted, it takes the fork along.
    fork = _FORK.Process(target=_say, args=(theirs, parent, paths), daemon=True)
    fork.start()
    theirs.close()
    said = {}
    with ours:
        # The parent asks one thing at a time: what comes from it before the answer is its end.
        if parent in connection.wait([ours, parent]):
            fork.kill()
        with suppress(EOFError):
            said = json.loads(ours.recv_bytes())
    fork.join()
    return {"said": said, "status": fork.exitcode}


def _say(answer: Connection, parent: Connection, paths: dict[str, str]) -> None:
    # The road to the audit's process is not for one that reads a stranger's bytes.
    parent.close()
    answer.send_bytes(json.dumps(read_file(**paths)).encode())


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
    # There is nothing left to put in order, and torch would take most of a second to leave.
    os._exit(0)
