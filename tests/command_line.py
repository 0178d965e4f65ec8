"""The command line as a user calls it, and the folders that tests call it in."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file
from torch import nn

from auditor.cli import main

HEAVY = ("torch", "transformers", "sae_lens", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "jinja2", "rich")
"""Nothing that answers at once may load these."""


def audit(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="audit")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pair(empty: Path) -> Path:
    """A folder with two state dicts of one network, a copy of the first, and the wish to compare weights alone."""
    (empty / "audit.toml").write_text('[audit]\nchecks = ["weight_delta"]\n')
    torch.manual_seed(0)
    for name in ("original", "unlearned"):
        save_file(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)).state_dict(), empty / f"{name}.safetensors")
    (empty / "copy.safetensors").write_bytes((empty / "original.safetensors").read_bytes())
    return empty
