"""What an audit sets in torch, and gives back."""

import subprocess
import sys

import pytest
import torch

from auditor.run.settings import execution_settings

_IN_A_NEW_PROCESS = """
import sys
import torch
from auditor.run.settings import execution_settings
with execution_settings(threads=1):
    torch.ones(2).sum()
print(sorted(name for name in sys.modules if name in ("torch._inductor", "torch._dynamo")))
"""


@pytest.mark.parametrize("before", ["default", "warn", "error"])
def test_the_caller_s_settings_come_back(before: str) -> None:
    mode, threads = torch.get_deterministic_debug_mode(), torch.get_num_threads()
    torch.set_deterministic_debug_mode(before)
    set_by_the_caller = torch.get_deterministic_debug_mode()
    try:
        with execution_settings(threads=2):
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
            assert torch.get_num_threads() == 2
        assert torch.get_deterministic_debug_mode() == set_by_the_caller
        assert torch.get_num_threads() == threads
    finally:
        torch.set_deterministic_debug_mode(mode)


def test_no_compiler_is_imported_for_it() -> None:
    """It would cost every process of an audit a quarter of its start."""
    found = subprocess.run([sys.executable, "-c", _IN_A_NEW_PROCESS], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
