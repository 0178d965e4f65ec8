"""Checkpoint files that tests write, change and read."""

import zipfile
from pathlib import Path

import torch

from auditor.loading import reader
from auditor.loading.checkpoints import weights_digest

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


def read(path: Path) -> dict[str, torch.Tensor]:
    """The reader without its process."""
    with path.open("rb") as file:
        return reader.read_checkpoint(file, path)


def saved(tmp_path: Path, content: object, **options: object) -> Path:
    path = tmp_path / "model.pt"
    torch.save(content, path, **options)
    return path


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and weights_digest(first) == weights_digest(second)


def rewritten(path: Path, change) -> Path:
    """The zip file again, each (name, bytes, compression) as ``change`` gives it."""
    with zipfile.ZipFile(path) as old:
        entries = [(info.filename, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(path, "w") as new:
        for name, data in entries:
            for written, content, compression in change(name, data):
                new.writestr(zipfile.ZipInfo(written), content, compress_type=compression)
    return path
