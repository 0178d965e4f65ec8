"""Rows that one pass over a set leaves behind: in memory, or in a file where they are many."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SPILL_BYTES = 512 * 2**20


class FeatureStore:
    """Preallocated rows for one recording, in memory or, beyond ``SPILL_BYTES``, in an unlinked file."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._tables: dict[str, Tensor] = {}
        self._bytes = 0

    def write(self, name: str, start: int | Tensor, rows: Tensor) -> None:
        """Put ``rows`` [m, width] at ``start`` and behind it, or at the places given, int64 [m]."""
        if name not in self._tables:
            self._tables[name] = self._allocate(rows)
        where = slice(start, start + rows.shape[0]) if isinstance(start, int) else start
        self._tables[name][where] = rows

    def _allocate(self, rows: Tensor) -> Tensor:
        shape = (self._n, *rows.shape[1:])
        self._bytes += int(np.prod(shape)) * rows.element_size()
        if self._bytes <= SPILL_BYTES:
            return torch.empty(shape, dtype=rows.dtype)
        with tempfile.TemporaryDirectory(prefix="audit-") as folder:
            # The mapping keeps the file's pages alive after its name is gone, so nothing is left behind.
            mapped = np.lib.format.open_memmap(
                Path(folder) / "features.npy", mode="w+", dtype=rows.numpy().dtype, shape=shape
            )
        return torch.from_numpy(mapped)

    def tables(self) -> dict[str, Tensor]:
        """The tables written."""
        return self._tables
