"""What a device holds, what running out of memory looks like, and the smaller batches that are tried then."""

import os
from pathlib import Path

import torch

SMALLER = 2
"""How often the batch is halved before a check is given up."""

TORCH_BYTES = 500 * 2**20
"""What a process holds once torch is imported."""
# Set by container engines and cluster schedulers; the word max stands for no limit.
_CONTROL_GROUP = Path("/sys/fs/cgroup/memory.max")
# The rest is for what no estimate of weights counts: activations, logits, batches, other processes.
_FOR_WEIGHTS = 0.8


def device_bytes(device: str) -> int:
    """All memory of a device, free or not: a plan must not depend on what else runs when it is made.

    Args:
        device: torch device name.
    """
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device == "mps":
        # A part of the memory that processor and GPU share.
        return int(torch.mps.recommended_max_memory())
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _CONTROL_GROUP.read_text().strip() if _CONTROL_GROUP.is_file() else "max"
    return min(physical, int(limit)) if limit.isdigit() else physical


def weights_fit(copies: int, weight_bytes: int, room: int) -> bool:
    """Whether a device holds so many copies of a model's weights and what is computed with them.

    Args:
        copies: all of them, subject, original, gradients and states of an optimiser included.
        weight_bytes: of one.
        room: bytes of the device.

    >>> weights_fit(7, 16 * 10**9, 80 * 10**9), weights_fit(4, 15 * 10**9, 80 * 10**9)
    (False, True)
    """
    return TORCH_BYTES + copies * weight_bytes <= _FOR_WEIGHTS * room


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on the processor or on a GPU.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("shapes do not fit"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # On the processor, and on an Apple GPU, torch has no type for it.
    words = ("DefaultCPUAllocator", "MPS backend out of memory")
    return isinstance(error, RuntimeError) and any(some in str(error) for some in words)


def batch_sizes(planned: int) -> list[int]:
    """The planned batch size, and the smaller ones to try in turn.

    >>> batch_sizes(256), batch_sizes(2)
    ([256, 128, 64], [2, 1])
    """
    return list(dict.fromkeys(max(1, planned >> halvings) for halvings in range(SMALLER + 1)))
