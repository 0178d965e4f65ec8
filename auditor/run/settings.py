"""Process-wide settings of torch that an audit needs, and gives back."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def execution_settings(threads: int) -> Iterator[None]:
    """Threads and deterministic algorithms as planned, put back after."""
    before, deterministic = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(threads)
    # Not use_deterministic_algorithms, which does the same and imports torch's compiler first, for seconds.
    torch.set_deterministic_debug_mode("error")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(deterministic)
        torch.set_num_threads(before)
