"""A small audit of files on disk, as someone would receive it, for tests of what a reviewer does with it."""

import shutil
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import auditor
from auditor.tasks.classification.sets import Examples
from tests.shared import folder_made_once
from tests.worlds import FORGET, World

ARCHITECTURE = "network.py:build"
NETWORK = """
from auditor.zoo.digits_net import DigitsNet

build = DigitsNet
"""
CONFIG = """
[models]
original = "original.safetensors"
unlearned = "unlearned.safetensors"
references = ["reference-*.safetensors"]
architecture = "network.py:build"

[data]
forget = "forget.npz"
retain = "retain.npz"
holdout = "holdout.npz"

[audit]
checks = ["few_shot"]
expect = "inconclusive"

[responsible]
person = "A. Auditor"
date = 2026-01-31
"""


@dataclass(frozen=True)
class Sent:
    """What was audited, and what came out.

    Attributes:
        files: folder of models, data, architecture and audit.toml.
        audit: folder of the audit's output alone.
    """

    files: Path
    audit: Path

    def copy(self, folder: Path) -> "Sent":
        """Both in another place, to be tampered with."""
        return Sent(
            files=shutil.copytree(self.files, folder / "files"), audit=shutil.copytree(self.audit, folder / "audit")
        )


def write_world(world: World, folder: Path) -> None:
    """Models, data, architecture and audit.toml of a world."""
    folder.mkdir()
    names = {"original": "original", "unlearned": "retrain"} | {f"reference-{i}": f"reference {i}" for i in range(4)}
    for file, name in names.items():
        save_file(world.modules[name].state_dict(), folder / f"{file}.safetensors")
    data = world.data
    forget = torch.cat([data.forget_attack.raw, data.forget_eval.raw])
    _write(Examples(raw=forget, labels=torch.full((len(forget),), FORGET)), folder / "forget.npz")
    _write(data.retain, folder / "retain.npz")
    assert data.holdout is not None
    _write(data.holdout, folder / "holdout.npz")
    (folder / "network.py").write_text(NETWORK)
    (folder / "audit.toml").write_text(textwrap.dedent(CONFIG))


def _write(examples: Examples, path: Path) -> None:
    np.savez(path, images=examples.raw.numpy(), labels=examples.labels.numpy())


@pytest.fixture(scope="session")
def sent(world: World, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    def make(folder: Path) -> None:
        folder.mkdir()
        write_world(world, folder / "files")
        auditor.compare(config=folder / "files" / "audit.toml", out=folder / "audit")
        shutil.rmtree(folder / "files" / ".audit")

    folder = folder_made_once(tmp_path_factory, "sent", make)
    return Sent(files=folder / "files", audit=folder / "audit")
