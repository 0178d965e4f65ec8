"""Weights from a checkpoint file, with no pickle opened in this process.

A ``torch.save`` file is handed to a limited child (:mod:`auditor.loading.reader`) that writes safetensors;
only those are opened here, and checked again. The converted file is kept by the digest of the original.
"""

import json
import mmap
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from auditor.digests import bytes_digest, chunks_digest, stream_digest
from auditor.errors import AuditError, ModelError, UnsafeInputError, near_paths
from auditor.loading.archive import identify
from auditor.loading.limits import cpu_seconds
from auditor.loading.reader import check_size
from auditor.loading.reading_process import Ended, Reply, read_in_process
from auditor.loading.tensors import (
    check_safetensors,
    is_finite,
    map_safetensors,
    plain,
    read_safetensors,
    refused,
    shown,
)
from auditor.randomness import torch_seed

# Part of a cached file's name: raise it when the reader becomes stricter.
READER_VERSION = 2
# For starting Python and importing torch, which takes long from a cold disk.
START_SECONDS = 60
_LISTED_KEYS = 3


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Named tensors of one model.

    Attributes:
        tensors: dense, finite CPU tensors by parameter name.
        file_digest: SHA-256 of the file they came from.
    """

    tensors: dict[str, Tensor]
    file_digest: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of their content (:func:`weights_digest`), whatever the file format."""
        return weights_digest(self.tensors)


def weights_digest(state_dict: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes in the order of names: equal for equal weights.

    >>> first = {"a": torch.ones(2), "b": torch.zeros(1)}
    >>> weights_digest(first) == weights_digest(dict(reversed(first.items())))
    True
    >>> weights_digest(first) == weights_digest({"a": torch.ones(2, 1), "b": torch.zeros(1)})
    False
    """
    return chunks_digest(chunk for name in sorted(state_dict) for chunk in _described(name, state_dict[name]))


def network_digest(state_dict: Mapping[str, Tensor]) -> str:
    """SHA-256 of a network's weights, the same whether a type narrower than float32 holds them or float32 does."""
    # One tensor at a time: a widened network would be a copy of a model.
    names = sorted(state_dict)
    return chunks_digest(chunk for name in names for chunk in _described(name, _widened(state_dict[name])))


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor


def _described(name: str, tensor: Tensor) -> Iterator[bytes]:
    held = tensor.detach().cpu().contiguous()
    # Type and shape say how many bytes follow, so that two models never make one stream of bytes.
    yield json.dumps([name, str(held.dtype), list(held.shape)]).encode()
    # As bytes: NumPy has no bfloat16.
    yield held.reshape(-1).view(torch.uint8).numpy().tobytes()


def load_weights(path: Path, cache_dir: Path) -> Weights:
    """Load the weights in a checkpoint: a state dict by ``torch.save`` (zip or pre-2020), or safetensors.

    Args:
        path: the file; its first bytes, not its suffix, say what it is.
        cache_dir: where converted files are kept; made if absent.

    Raises:
        ModelError: missing, cut short, damaged, not a state dict, NaN.
        UnsafeInputError: reading it could run code or exhaust the machine.
    """
    file_digest = _inspect(path)
    if file_digest is None:
        return load_safetensors(path)
    tensors = read_safetensors(_converted(path, file_digest, cache_dir), path)
    return Weights(tensors=tensors, file_digest=file_digest)


def load_safetensors(path: Path) -> Weights:
    """Load the weights in a safetensors file.

    Raises:
        ModelError: missing, cut short, damaged, NaN.
        UnsafeInputError: too large, not what its header claims, or another format in disguise.
    """
    if _inspect(path) is not None:
        raise refused(path, "it is not in safetensors format; save it with safetensors")
    before = _identity(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        check_safetensors(data, path)
        file_digest = bytes_digest(data)
    # Mapped and not read: a large model then stands in memory once, where its pages are used. What is written to a
    # tensor goes to pages of this process, never to the file.
    tensors = map_safetensors(path)
    if _identity(path) != before:
        raise ModelError(f"{shown(path)} changed while it was read; run the audit again when it is complete")
    return Weights(tensors=tensors, file_digest=file_digest)


def _identity(path: Path) -> tuple[int, ...]:
    """What tells that a file is still the one it was: an edit in place changes the times, another file the number."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _inspect(path: Path) -> str | None:
    """SHA-256 of a file that the child must read, None for safetensors."""
    if not path.is_file():
        give = "give the path of a .pt, .pth, .th or .safetensors file"
        if path.is_dir():
            raise ModelError(f"{shown(path)} is a folder, not a checkpoint file; {give}")
        raise ModelError(f"{shown(path)} does not exist or is not a file{near_paths(path, Path(), give)}")
    try:
        with path.open("rb") as file:
            check_size(file.seek(0, 2), path)
            if identify(file, path) == "safetensors":
                return None
            return stream_digest(file)
    except OSError as error:
        raise ModelError(f"{shown(path)} cannot be read ({error.strerror}); check its permissions") from None


def _converted(path: Path, file_digest: str, cache_dir: Path) -> bytes:
    """Safetensors bytes for a file of that digest, from the cache if they are there and undamaged."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    kept = cache_dir / f"{file_digest}-{READER_VERSION}.safetensors"
    receipt = kept.with_suffix(".sha256")
    if kept.is_file() and receipt.is_file():
        data = kept.read_bytes()
        # This notices damage; it is no guard against someone who can write to the folder.
        if bytes_digest(data) == receipt.read_text():
            return data
    # Beside its place: a rename is one step only within a file system.
    with tempfile.TemporaryDirectory(dir=cache_dir) as folder:
        fresh = Path(folder) / kept.name
        if _run_reader(path, fresh) != file_digest:
            raise ModelError(f"{shown(path)} changed while it was read; run the audit again when it is complete")
        data = fresh.read_bytes()
        (Path(folder) / receipt.name).write_text(bytes_digest(data))
        fresh.replace(kept)
        # The receipt last: killed between the two, the next run finds no receipt that fits and converts again.
        (Path(folder) / receipt.name).replace(receipt)
    return data


def _run_reader(path: Path, target: Path) -> str:
    """Convert ``path`` in a limited child; returns the SHA-256 of what the child read."""
    # The child limits its processor time itself; a process that waits uses none, so the clock runs too.
    seconds = START_SECONDS + 2 * cpu_seconds(path.stat().st_size)
    try:
        return _understand(read_in_process(path, target, seconds), path)
    except TimeoutError:
        raise refused(path, f"reading it took more than {seconds} seconds; save it with torch.save") from None
    except Ended as ended:
        raise AuditError(
            f"the process that reads checkpoints ended before it had read {shown(path)}: {ended}"
        ) from None


def _understand(reply: Reply, path: Path) -> str:
    said = reply.said
    if isinstance(said.get("digest"), str):
        return str(said["digest"])
    # The child has read hostile bytes: its words are cleaned like those of any stranger.
    if isinstance(said.get("error"), str):
        raise (UnsafeInputError if said.get("kind") == "unsafe" else ModelError)(plain(said["error"], 2000))
    # It died while reading, by a limit or a crash: taken for an attack, not for mere damage.
    raise refused(path, f"the process reading it ended with {reply.last_words}; save it with torch.save")


def build_module(architecture: Callable[[], nn.Module], weights: Weights, name: str) -> nn.Module:
    """Put weights into the architecture, in eval mode; every name and shape must agree.

    Args:
        architecture: makes a fresh network; seeded, so that buffers outside the checkpoint are always equal.
        weights: what to put in.
        name: names the model in errors: its role or file.

    Raises:
        ModelError: keys are missing, unexpected or mis-shaped.
    """
    with torch_seed(0):
        module = architecture()
    complaints = _mismatches(module.state_dict(), weights.tensors)
    if complaints:
        raise ModelError(
            f"{name} does not fit the architecture: {'; '.join(complaints)}; "
            f"{_mend(module.state_dict(), weights.tensors)}"
        )
    # A plain dict: batch normalisation then supplies the step counter that files before 2018 lack.
    module.load_state_dict(weights.tensors, strict=True)
    check_still_finite(module, name)
    return module.eval()


def check_still_finite(module: nn.Module, name: str) -> None:
    """Refuse weights that are finite in their file and overflow in the network's narrower type.

    Raises:
        ModelError: naming the first of them.
    """
    for key, tensor in module.state_dict().items():
        if not is_finite(tensor):
            raise ModelError(
                f"{shown(name)} holds values in '{plain(key)}' that are beyond {_type(tensor)}, the type of the "
                "network; use a checkpoint whose training did not diverge"
            )


def _mismatches(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    missing = [name for name in expected if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in expected]
    differing = [
        f"{name} is {_describe(given[name])} instead of {_describe(expected[name])}"
        for name in expected
        if name in given and _kind(given[name]) != _kind(expected[name])
    ]
    named = {"missing": missing, "unexpected": unexpected, "different": differing}
    return [f"{word} {_some(names)}" for word, names in named.items() if names]


def _kind(tensor: Tensor) -> tuple[torch.Size, torch.dtype | str]:
    """Shape and type; floating-point numbers of any width go into each other, nothing else does."""
    return tensor.shape, "floating point" if tensor.is_floating_point() else tensor.dtype


def _describe(tensor: Tensor) -> str:
    return f"{_type(tensor)} {list(tensor.shape)}"


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _some(names: Sequence[str]) -> str:
    more = len(names) - _LISTED_KEYS
    return ", ".join(names[:_LISTED_KEYS]) + (f" and {more} more" if more > 0 else "")


def _mend(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    prefix = next(iter(given)).split(".")[0] + "."
    bare = {name.removeprefix(prefix) for name in given if name.startswith(prefix)}
    if len(bare) == len(given) and bare <= set(expected):
        return f"its names all start with '{plain(prefix)}', so the architecture should be the network around it"
    if set(expected) == set(given):
        return "give the architecture the sizes this model was trained with, the number of classes among them"
    return "let the architecture be the function that built this model"
