"""What many audits in a row in one process leave behind: memory, processes, temporary files.

Every audit is of other models of one size, from its first score, in a folder of its own that is removed after it.
Resident memory is read after a few audits, when every library is loaded and every pool has its size, and at the end,
each time when the C library has given back the pages it only keeps for later.

    python benchmarks/soak.py
"""

import argparse
import ctypes
import gc
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import nn

import auditor
from auditor.randomness import torch_seed

WARM = 5  # every library is loaded and every pool has its size by then
AUDITS = 50
CHECKS = ("cka", "quantization")  # two quick ones: what is left behind is looked for, not what they find
WIDTH = 512
"""Of the hidden layer: a model has half a MiB, and an audit makes seven."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=AUDITS, help=f"default {AUDITS}")
    arguments = parser.parse_args()
    with temporary_files() as temporary:
        before = left_behind(temporary)
        for i in range(arguments.audits):
            audit(i, CHECKS)
            if i + 1 in (WARM, arguments.audits):
                print(f"after {i + 1:3d} audits: {left_behind(temporary).minus(before)}", flush=True)


@dataclass(frozen=True)
class Left:
    """What a process holds at one moment.

    Attributes:
        resident: bytes of memory.
        modules: networks and parts of networks that are alive.
        children: processes.
        files: temporary ones.
        handles: open files of the process.
    """

    resident: int
    modules: int
    children: int
    files: int
    handles: int

    def minus(self, before: "Left") -> "Left":
        """What has come since, but for memory, which is told as it is."""
        return Left(
            self.resident,
            self.modules - before.modules,
            self.children - before.children,
            self.files - before.files,
            self.handles - before.handles,
        )

    def __str__(self) -> str:
        return (
            f"{self.resident / 2**20:.0f} MiB resident; more than before the first: {self.modules} torch modules, "
            f"{self.children} child processes, {self.files} temporary files, {self.handles} open files"
        )


@contextmanager
def temporary_files() -> Iterator[Path]:
    """A folder for all temporary files of the block, so that nobody else's are counted."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


def left_behind(temporary: Path) -> Left:
    """Count after the garbage is out."""
    # Cycles that wait for the collector are no leak.
    gc.collect()
    # glibc keeps freed pages for later, by 10 MiB and more; other C libraries have no such call.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    process = psutil.Process()
    return Left(
        resident=process.memory_info().rss,
        # By type: isinstance would ask proxies for their class and wake them.
        modules=sum(issubclass(type(thing), nn.Module) for thing in gc.get_objects()),
        children=len(process.children(recursive=True)),
        files=sum(1 for _ in temporary.rglob("*")),
        handles=process.num_fds(),
    )


def audit(seed: int, checks: tuple[str, ...], width: int = WIDTH) -> None:
    """One audit of fresh models of random images, from files on disk to a report."""
    folder = Path(tempfile.mkdtemp())
    images, labels = _examples(seed)
    # Seeds apart: original, subject and references are different models in every audit.
    modules = [_trained(images, labels, width, seed + part) for part in (0, 1000, 2000, 3000)]
    kept = labels != 0
    auditor.compare(
        *modules[:2],
        forget=(images[~kept], labels[~kept]),
        retain=(images[kept], labels[kept]),
        references=modules[2:],
        out=folder / "out",
        options={"audit": {"checks": checks, "store": str(folder / "store")}},
    )
    shutil.rmtree(folder)


def _examples(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    labels = np.arange(120) % 3
    images = random.normal(size=(120, 1, 16, 16)) + 2 * np.eye(256)[labels * 80].reshape(-1, 1, 16, 16)
    return torch.from_numpy(images.astype(np.float32)), torch.from_numpy(labels)


def _trained(images: torch.Tensor, labels: torch.Tensor, width: int, seed: int) -> nn.Module:
    with torch_seed(seed):
        net = nn.Sequential(nn.Flatten(), nn.Linear(256, width), nn.ReLU(), nn.Linear(width, 3))
        # Long enough that all of them learn it: an original worse than its references is refused before any score.
        optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), labels).backward()
            optimizer.step()
    return net.eval()


if __name__ == "__main__":
    main()
