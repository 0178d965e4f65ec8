"""What the numbers of an audit depend on beside its plan."""

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from auditor.records.results import Environment

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
        platform=f"{platform.system()} {platform.machine()}",
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        blas="MKL" if torch.backends.mkl.is_available() else "other",
        gpu=torch.cuda.get_device_name() if device.startswith("cuda") else None,
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
