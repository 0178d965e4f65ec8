"""Seeds: every random choice derives from the plan's seed and a name, never from global state."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from auditor.digests import text_digest


def derive_seed(seed: int, *names: str | int) -> int:
    """A seed in [0, 2**31) that depends on every argument and on nothing else.

    >>> derive_seed(0, "few_shot") == derive_seed(0, "few_shot")
    True
    >>> derive_seed(0, "few_shot") == derive_seed(1, "few_shot")
    False
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int(text_digest(text)[:8], 16) >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator of its own for the named choice."""
    return np.random.default_rng(derive_seed(seed, *names))


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Seed torch's global CPU stream inside the block and restore it after: for code that knows no other."""
    # No device's stream: to save one would start CUDA where nothing uses it.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
