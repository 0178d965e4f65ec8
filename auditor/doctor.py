"""Whether this machine can run audits, and a given plan."""

import platform
import resource
import shutil
import subprocess
import sys
import timeit
from collections.abc import Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil
import torch
from packaging.requirements import Requirement

from auditor.review.received import Finding
from auditor.run.estimate import estimate
from auditor.run.preparing import Prepared

_DISTRIBUTION = "unlearning-auditor"
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_EXTRAS = {
    "adapters": "to read LoRA adapters",
    "parquet": "to read Parquet files",
    "timm": "for architectures named timm:NAME",
    "torchvision": "for architectures named torchvision:NAME",
    "scan": "for picklescan's opinion in audit scan",
    "cluster": "for audits on a Ray cluster",
    "sign": "for audit sign and verify --key",
    "model-signing": "for verify --model-key",
}
_NAMESPACE = ("unshare", "--user", "--map-root-user", "--net", "true")
_MIB = 2**20


def machine() -> Iterator[Finding]:
    """Versions, optional packages, GPU, and what can be held against a hostile file."""
    yield _finding("python", sys.version_info >= (3, 11), f"{platform.python_version()}, needed is 3.11 or later")
    yield from _packages()
    yield from map(_extra, _EXTRAS)
    yield Finding(subject="GPU", state="note", words=_gpu())
    yield _narrow_type()
    yield from isolation()


def plan(prepared: Prepared, store: Path) -> Iterator[Finding]:
    """Memory and disk that a plan needs, by its estimate, against what there is.

    Args:
        prepared: the audit.
        store: where scores are kept.
    """
    cost = estimate(prepared)
    yield _enough("memory", cost.memory_bytes, available_memory(), "free some, or lower audit.batch_size")
    yield _enough("disk", cost.disk_bytes, free_disk(store), f"free some where {store} lies, or set audit.store")
    yield Finding(subject="time", state="note", words=f"about {cost.seconds:.0f} s on this machine, if it is idle")


def available_memory() -> int:
    """Bytes that can be had without swapping, within what the container allows."""
    free = int(psutil.virtual_memory().available)
    # A container may be allowed less than the machine has free.
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.is_file() else "max"
    return free if limit == "max" else min(free, int(limit))


def free_disk(folder: Path) -> int:
    """Bytes free where a folder lies or would be made."""
    # The store is made by the first audit; until then its nearest parent tells.
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def isolation() -> Iterator[Finding]:
    """What limits the process that opens checkpoints."""
    names = ["RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_AS"]
    missing = [name for name in names if not hasattr(resource, name)]
    if sys.platform != "linux":
        missing.append("a limit of memory")
    words = f"lacking: {', '.join(missing)}" if missing else "processor time, memory, output and open files"
    yield _finding("limits on the reading process", not missing, words)
    without = _has_network_namespace()
    words = "can be made by this user" if without else "cannot be made by this user: read hostile files in a container"
    yield Finding(subject="network namespace", state="note", words=words)


def _narrow_type() -> Finding:
    """How fast the processor is in bfloat16: without instructions of its own for it, far slower than in float32."""
    # Tried out: which instructions torch would use it does not say.
    ones = torch.ones(512, 512)
    times = [min(timeit.repeat(partial(torch.mm, a, a), number=2, repeat=3)) for a in (ones, ones.bfloat16())]
    faster = times[0] / times[1]
    advice = "" if faster > 1 else "; give --dtype float32 for audits on the CPU"
    return Finding(subject="bfloat16", state="note", words=f"{faster:.2g} times as fast as float32 on the CPU{advice}")


def _gpu() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    if torch.backends.mps.is_available():
        return f"{torch.backends.mps.get_name()}, for audit.device = 'mps'"
    return "none that torch can use: audits run on the CPU"


def _packages() -> Iterator[Finding]:
    for requirement in _required():
        if requirement.marker is None:
            found = _version(requirement.name)
            # A development version counts by its number.
            fits = found is not None and requirement.specifier.contains(found, prereleases=True)
            words = f"{found or 'not installed'}, needed is {requirement.specifier}"
            yield _finding(requirement.name, fits, words)


def _extra(name: str) -> Finding:
    wanted = [r.name for r in _required() if r.marker is not None and r.marker.evaluate({"extra": name})]
    missing = [package for package in wanted if _version(package) is None]
    words = f"not installed: {', '.join(missing)}; only needed {_EXTRAS[name]}" if missing else "installed"
    return Finding(subject=f"extra {name}", state="note", words=words)


def _required() -> list[Requirement]:
    return [Requirement(line) for line in requires(_DISTRIBUTION) or ()]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _has_network_namespace() -> bool:
    try:
        # Tried out: what forbids it differs between systems.
        return subprocess.run(_NAMESPACE, capture_output=True, check=False, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _enough(subject: str, needed: int, there: int, fix: str) -> Finding:
    words = f"about {needed // _MIB} MiB needed, {there // _MIB} MiB there"
    return _finding(subject, needed <= there, words if needed <= there else f"{words}; {fix}")


def _finding(subject: str, holds: bool, words: str) -> Finding:
    return Finding(subject=subject, state="holds" if holds else "fails", words=words)
