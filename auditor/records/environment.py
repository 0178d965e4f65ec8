"""What the numbers of an audit depend on beside its plan."""

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from auditor.records.results import Environment

# By these the numbers change, and by matplotlib the bytes of the report.
_PACKAGES = (
    "matplotlib",
    "numpy",
    "safetensors",
    "sae-lens",
    "scikit-learn",
    "scipy",
    "torch",
    "transformers",
    "unlearning-auditor",
)


def describe(device: str) -> Environment:
    """This machine, without its name."""
    return Environment(
        python=platform.python_version(),
        packages={name: _version(name) for name in _PACKAGES},
        # Only what numbers depend on: a host's name is none of it, and results are passed on.
        platform=f"{platform.system()} {platform.machine()}",
        # Sums differ in their last bits between instruction sets and between BLAS libraries.
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        blas="MKL" if torch.backends.mkl.is_available() else "other",
        gpu=_gpu(device),
    )


def _gpu(device: str) -> str | None:
    if device == "mps":
        return str(torch.backends.mps.get_name())
    return torch.cuda.get_device_name() if device.startswith("cuda") else None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
