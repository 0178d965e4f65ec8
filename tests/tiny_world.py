"""The smallest audit of files that passes the gate, for tests that run whole audits many times: seconds matter."""

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import auditor
from auditor.run.audit_folder import FILES, PLAN, RESULTS, SCORES
from tests.shared import folder_made_once

# What the unlearned model does where $TINY says so; $TINY_ROLE makes the original do it instead. The original is
# recognised by a weight that the canonical form leaves as it is, and small batches pass: the network's structure is
# found with one, before any check.
NETWORK = """
import faulthandler, os, signal, sys, time

import torch
from torch import nn


def misbehave(how):
    if how == "raise":
        raise RuntimeError("by design")
    if how == "sys.exit":
        sys.exit(0)
    if how == "os._exit":
        os._exit(0)
    if how == "segfault":
        faulthandler.disable()
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "memory":
        torch.empty(10**15)
    while how == "hang":
        time.sleep(0.01)


class Net(nn.Sequential):
    def forward(self, inputs):
        marked = float(self[3].bias[0].detach()) == 0.125
        how = os.environ.get("TINY", "") if marked == (os.environ.get("TINY_ROLE") != "original") else ""
        if len(inputs) > 16:
            misbehave(how)
        return super().forward(inputs) * (float("nan") if how == "nan" else 1.0)


def build():
    return Net(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
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

[audit]
checks = ["cka"]
"""


def write_tiny_world(folder: Path) -> Path:
    """Models, data, architecture and audit.toml; returns the path of the last.

    Args:
        folder: made here.
    """
    folder.mkdir()
    (folder / "network.py").write_text(NETWORK)
    (folder / "audit.toml").write_text(textwrap.dedent(CONFIG))
    random = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = (random.normal(size=(120, 1, 4, 4)) + 2 * np.eye(16)[labels * 5].reshape(-1, 1, 4, 4)).astype(np.float32)
    for name, chosen in (("forget", labels == 0), ("retain", labels != 0)):
        np.savez(folder / f"{name}.npz", images=images[chosen], labels=labels[chosen])
    for seed, name in enumerate(("original", "reference-1", "reference-2", "unlearned")):
        chosen = slice(None) if name == "original" else labels != 0
        net = _trained(torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen]), seed)
        if name == "unlearned":
            with torch.no_grad():
                net[3].bias[0] = 0.125
        save_file(net.state_dict(), folder / f"{name}.safetensors")
    return folder / "audit.toml"


def _trained(images: torch.Tensor, labels: torch.Tensor, seed: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
        optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), labels).backward()
            optimizer.step()
    return net


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the world and, in ``audit-out`` and ``.audit``, an audit of it on which nothing went wrong."""

    def make(folder: Path) -> None:
        config = write_tiny_world(folder)
        auditor.compare(config=config, out=folder / "audit-out", command="audit compare")

    return folder_made_once(tmp_path_factory, "plain", make)


@pytest.fixture
def fresh(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The world in the working directory, without any score."""
    folder = tmp_path / "world"
    shutil.copytree(plain, folder, ignore=shutil.ignore_patterns("audit-out", ".audit", "__pycache__"))
    monkeypatch.chdir(folder)
    return folder


def same_files(one: Path, other: Path, names: Sequence[str] = FILES) -> bool:
    """Whether two audits wrote the same bytes."""
    return all((one / "audit-out" / name).read_bytes() == (other / "audit-out" / name).read_bytes() for name in names)


def same_numbers(one: Path, other: Path) -> bool:
    """The same where no report was drawn."""
    return same_files(one, other, (PLAN, RESULTS, SCORES))


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing it takes longer than all the rest."""
    monkeypatch.setattr("auditor.reports.html.render", lambda results: "")
