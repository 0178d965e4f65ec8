"""Process-wide settings of torch that an audit needs, and gives back."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def execution_settings(threads: int) -> Iterator[None]:
    """Threads and deterministic algorithms as planned, put back after."""
    before = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.set_num_threads(before)
