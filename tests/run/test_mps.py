"""Apple GPUs, by stand-ins: what is asked of torch, and that nothing needs numbers of 64 bits there."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from auditor import doctor
from auditor.errors import UsageError
from auditor.models.memory import device_bytes, out_of_memory
from auditor.models.precision import doubled
from auditor.records.environment import describe
from auditor.records.spec import AuditSpec, RunSpec
from auditor.run.machine import this_machine
from auditor.run.preparing import prepare
from tests.command_line import audit

NAME = "Apple M9"


@pytest.fixture
def apple(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch as it answers on such a machine."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "get_name", lambda: NAME)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 12 * 2**30)


def test_a_machine_without_one_says_so(monkeypatch: pytest.MonkeyPatch, fresh: object) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    done = audit("compare", "--device", "mps", "--dry-run")
    assert done.exit_code == 2
    assert "audit.device = 'mps', but this machine offers no Apple GPU that torch can use; use cpu" in done.stderr


@pytest.mark.usefixtures("apple")
def test_a_machine_with_one_goes_on_to_the_models() -> None:
    with pytest.raises(UsageError, match="no original model"):
        prepare(AuditSpec(audit=RunSpec(device="mps")), Path(), {})


@pytest.mark.usefixtures("apple")
def test_its_name_and_memory_are_known() -> None:
    assert describe("mps").gpu == this_machine("mps").gpu == NAME
    assert describe("cpu").gpu is None
    assert device_bytes("mps") == 12 * 2**30
    gpu = next(finding for finding in doctor.machine() if finding.subject == "GPU")
    assert gpu.words == f"{NAME}, for audit.device = 'mps'"


def test_running_out_of_it_is_recognised() -> None:
    assert out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB)"))


@pytest.mark.parametrize("device", ["mps:0", "metal", "gpu"])
def test_other_names_are_refused(device: str) -> None:
    with pytest.raises(ValueError, match="device"):
        RunSpec(device=device)


class _OnApple(Tensor):
    """A tensor that says it lies on an Apple GPU, and is refused in float64 there."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("mps")

    def double(self) -> Tensor:  # type: ignore[override]
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")

    def cpu(self) -> Tensor:  # type: ignore[override]
        return self.as_subclass(Tensor)


def test_what_needs_64_bits_is_computed_on_the_processor() -> None:
    numbers = torch.tensor([1.5, 2.5])
    found = doubled(numbers.as_subclass(_OnApple))
    assert found.dtype == torch.float64
    assert found.tolist() == [1.5, 2.5]
    assert doubled(numbers).dtype == torch.float64
