"""Reads received models exactly as an audit would, and says what they hold or why they were refused."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from auditor.errors import UnsafeInputError, UsageError
from auditor.loading.adapters import check_adapter, is_adapter
from auditor.loading.archive import identify
from auditor.loading.checkpoints import load_weights
from auditor.loading.picklescan_report import picklescan_report
from auditor.loading.tensors import plain, shown
from auditor.loading.tokenizers import TOKENIZER, load_tokenizer
from auditor.loading.transformers_directory import load_directory

State = Literal["sound", "refused", "unusable"]
_KINDS = {"zip": "torch.save", "legacy": "torch.save before 2020", "safetensors": "safetensors"}
_NEVER_READ = (".py", ".bin", ".pt", ".pth", ".ckpt", ".pickle", ".pkl", ".h5", ".msgpack", ".model")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanned:
    """What was found in one file or folder.

    Attributes:
        path: as given.
        state: ``sound``, ``refused`` where reading it could do harm, or ``unusable`` where it is missing, damaged or
            not the weights of a model.
        words: what it holds or what is wrong with it, one sentence.
        picklescan_report: of picklescan, where it is installed and the file is a pickle; decides nothing.
    """

    path: Path
    state: State
    words: str
    picklescan_report: str | None = None


def scan(path: Path) -> Scanned:
    """Read a checkpoint, a transformers directory or an adapter, and keep nothing of it."""
    try:
        words = _folder(path) if path.is_dir() else _file(path)
    except UnsafeInputError as error:
        return Scanned(path=path, state="refused", words=str(error), picklescan_report=_picklescan_report(path))
    except UsageError as error:
        return Scanned(path=path, state="unusable", words=str(error), picklescan_report=_picklescan_report(path))
    except OSError as error:
        return Scanned(path=path, state="unusable", words=f"{shown(path)} cannot be read: {error.strerror or error}")
    return Scanned(
        path=path, state="sound", words=f"{shown(path)}: {words}", picklescan_report=_picklescan_report(path)
    )


def _picklescan_report(path: Path) -> str | None:
    if not path.is_file() or path.stat().st_size == 0:
        return None
    with path.open("rb") as file:
        # safetensors hold no pickle: there is nothing to have an opinion on.
        return None if file.read(9)[8:] == b"{" else picklescan_report(path)


def _file(path: Path) -> str:
    # A cache that goes with it: nothing of a scanned file is kept.
    with tempfile.TemporaryDirectory() as cache:
        weights = load_weights(path, Path(cache))
    with path.open("rb") as file:
        kind = _KINDS[identify(file, path)]
    return f"{kind}, {_counted(weights.tensors)}, SHA-256 {weights.file_digest}"


def _folder(path: Path) -> str:
    if is_adapter(path):
        adapter = check_adapter(path)
        return f"LoRA adapter, {_counted(adapter.tensors)}, SHA-256 {adapter.file_digest}{_left_alone(path)}"
    loaded = load_directory(path)
    if (path / TOKENIZER).is_file():
        # Read and dropped: that it can be read is part of what is said.
        load_tokenizer(path)
    held = f"{loaded.task} model, {_counted(loaded.module.state_dict())}, SHA-256 {loaded.file_digest}"
    return held + _left_alone(path)


def _left_alone(path: Path) -> str:
    names = sorted(entry.name for entry in path.iterdir() if entry.suffix in _NEVER_READ)
    return f"; not read: {plain(', '.join(names), 200)}" if names else ""


def _counted(tensors: Mapping[str, Tensor]) -> str:
    return f"{len(tensors)} tensors, {sum(tensor.numel() for tensor in tensors.values())} values"
