"""What running out of memory looks like, and the smaller batches that are tried then."""

import torch

SMALLER = 2
"""How often the batch is halved before a check is given up."""


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on the processor or on a GPU.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("shapes do not fit"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # On the processor torch has no type for it.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def batch_sizes(planned: int) -> list[int]:
    """The planned batch size, and the smaller ones to try in turn.

    >>> batch_sizes(256), batch_sizes(2)
    ([256, 128, 64], [2, 1])
    """
    return list(dict.fromkeys(max(1, planned >> halvings) for halvings in range(SMALLER + 1)))
