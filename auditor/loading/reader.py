"""The reading process: opens one untrusted checkpoint and leaves safetensors behind.

Run as ``python -P -m auditor.loading.reader INPUT OUTPUT.safetensors`` by :mod:`auditor.loading.checkpoints`.
It limits itself before it reads the first byte, prints the limits in force as one JSON line, then one more:
``{"ok": true, "digest": ...}`` or ``{"error": sentence, "kind": "unsafe" | "model"}``.
"""

import hashlib
import json
import pickle
import re
import resource
import shlex
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from auditor.errors import ModelError, UnsafeInputError
from auditor.loading.archive import check_zip, identify
from auditor.loading.tensors import find_state_dict, plain, read_safetensors, refused, shown

MAX_FILE_BYTES = 16 * 2**30
# Storages, contiguous copies and serialised bytes coexist for a moment; tied weights are written twice.
MEMORY_FACTOR = 6
MEMORY_BASE_BYTES = 256 * 2**20
OUTPUT_FACTOR = 2
OUTPUT_BASE_BYTES = 8 * 2**20
CPU_SECONDS = 60
BYTES_PER_CPU_SECOND = 10 * 2**20
_GLOBAL = re.compile(r"GLOBAL (\S+)|got <class '([^']+)'>|function (\S+)")


def cpu_seconds(file_bytes: int) -> int:
    """Processor time the reading process may use."""
    return CPU_SECONDS + file_bytes // BYTES_PER_CPU_SECOND


def limit_this_process(file_bytes: int) -> dict[str, int]:
    """Limit this process for good, and return the limits by name, in bytes, seconds or counts.

    Address space is limited on Linux only, to what Python and torch have mapped plus a share for the file.
    """
    wanted = {
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_NPROC": 0,
        "RLIMIT_FSIZE": OUTPUT_FACTOR * file_bytes + OUTPUT_BASE_BYTES,
        "RLIMIT_CPU": cpu_seconds(file_bytes),
    }
    if sys.platform == "linux":
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        wanted["RLIMIT_AS"] = mapped + MEMORY_BASE_BYTES + MEMORY_FACTOR * file_bytes
    return {name: _lower(getattr(resource, name), value) for name, value in wanted.items()}


def _lower(kind: int, value: int) -> int:
    _, hard = resource.getrlimit(kind)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (allowed, allowed))
    return allowed


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
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise refused(name, _pickle_reason(str(error), name)) from None
    except MemoryError:
        raise _too_large(name) from None
    except RuntimeError as error:
        if "allocate memory" in str(error):
            raise _too_large(name) from None
        raise _damaged(name, error) from None
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
    return f"python -c {shlex.quote(code)}" if set('"$`\\!') & set(code) else f'python -c "{code}"'


def _too_large(name: object) -> UnsafeInputError:
    return refused(name, "reading it needs more memory than a file of its size can justify; save it with torch.save")


def _damaged(name: object, error: Exception) -> ModelError:
    first = plain(str(error).split("\n")[0] or type(error).__name__, 120)
    return ModelError(f"{shown(name)} is a cut short or damaged checkpoint ({first}); copy or save it anew")


def _check_total(tensors: Mapping[str, Tensor], file_bytes: int, name: object) -> None:
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors.values()}
    written = sum(t.numel() * t.element_size() for t in tensors.values())
    if sum(storages.values()) > file_bytes or written > OUTPUT_FACTOR * file_bytes:
        raise refused(
            name,
            f"its tensors add up to {written} bytes, but the file has {file_bytes}; save each tensor once",
        )


def convert(source: str, target: str) -> str:
    """Read ``source``, write ``target`` as safetensors, and return the SHA-256 of what was read."""
    with Path(source).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        tensors = read_checkpoint(file, source)
    # Tied tensors are written apart: safetensors has no sharing, and equal bytes load equally.
    apart = {name: tensor.resolve_conj().resolve_neg().contiguous().clone() for name, tensor in tensors.items()}
    try:
        safetensors.torch.save_file(apart, target)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise refused(source, f"its tensors cannot be written as safetensors ({plain(error)})") from None
    return digest


def main(source: str, target: str) -> int:
    """Read one file under limits and print what came of it; 0 if it was converted, else 1."""
    torch.set_num_threads(1)
    try:
        size = Path(source).stat().st_size
        check_size(size, source)
        print(json.dumps({"limits": limit_this_process(size)}), flush=True)
        print(json.dumps({"ok": True, "digest": convert(source, target)}))
    except (UnsafeInputError, ModelError) as error:
        kind = "unsafe" if isinstance(error, UnsafeInputError) else "model"
        print(json.dumps({"error": str(error), "kind": kind}))
    except MemoryError:
        print(json.dumps({"error": str(_too_large(source)), "kind": "unsafe"}))
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
