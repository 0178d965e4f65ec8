"""Labelled images, and the sets of them that an audit looks at."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from auditor.checks.sets import Sets
from auditor.digests import bytes_digest, chunks_digest, text_digest
from auditor.loading.preprocessing import Preprocessing

EXAMPLES_PER_CONCEPT = 4


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Inputs and labels, preprocessed only when a batch is asked for.

    Attributes:
        raw: inputs as stored, shape [n, ...].
        labels: class of each example, int64, shape [n].
        preprocessing: applied to each batch.
    """

    raw: Tensor
    labels: Tensor
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def take(self, indices: Tensor) -> "Examples":
        """The examples at ``indices``, int64 [m] or bool [n]."""
        return Examples(raw=self.raw[indices], labels=self.labels[indices], preprocessing=self.preprocessing)

    @property
    def inputs(self) -> Tensor:
        """All inputs, preprocessed, float32 [n, ...]."""
        return self.preprocessing(self.raw)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(inputs, labels) of at most ``size`` examples, in order."""
        for start in range(0, len(self), size):
            yield self.preprocessing(self.raw[start : start + size]), self.labels[start : start + size]

    @property
    def nbytes(self) -> int:
        """Of the inputs as stored."""
        return self.raw.numel() * self.raw.element_size()

    @cached_property
    def content_hashes(self) -> list[str]:
        """SHA-256 of each input's bytes, labels apart: equal hashes are the same example."""
        arrays = np.ascontiguousarray(self.raw.numpy())
        return [bytes_digest(row.tobytes()) for row in arrays]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over shapes, inputs, labels and preprocessing."""
        return chunks_digest(self._described())

    def _described(self) -> Iterator[bytes]:
        yield f"{tuple(self.raw.shape)} {self.raw.dtype}".encode()
        yield np.ascontiguousarray(self.raw.numpy()).tobytes()
        yield np.ascontiguousarray(self.labels.numpy()).tobytes()
        yield self.preprocessing.model_dump_json().encode()


@dataclass(frozen=True, kw_only=True)
class AuditData(Sets[Examples]):
    """The sets of one audit of an image classifier; labels of ``control`` name concepts, no class of the models."""

    @property
    def control_concepts(self) -> tuple[int, ...]:
        """Labels of the control set with examples enough for a null."""
        if self.control is None:
            return ()
        labels, counts = self.control.labels.unique(return_counts=True)
        return tuple(int(label) for label in labels[counts >= EXAMPLES_PER_CONCEPT])

    @property
    def digest(self) -> str:
        """SHA-256 over every set and the request."""
        parts = [f"{name}:{examples.digest}" for name, examples in sorted(self.splits().items())]
        return text_digest(f"{self.request} {self.classes} {self.n_classes} {parts}")


def split_in_halves(examples: Examples, seed: int) -> tuple[Examples, Examples]:
    """Attack and eval halves: stratified by label, identical examples kept on one side.

    Returns:
        (attack, eval), disjoint by content; each keeps the file's order.
    """
    hashes = np.array(examples.content_hashes)
    labels = examples.labels.numpy()
    attack = np.zeros(len(examples), dtype=bool)
    # An image that stands under two labels counts with the first, so that it cannot stand on both sides.
    contents, first = np.unique(hashes, return_index=True)
    random = np.random.default_rng(seed)
    for label in np.unique(labels[first]):
        groups = contents[labels[first] == label]
        # Of an odd number eval has one more: it is what is measured.
        attack |= np.isin(hashes, random.permutation(groups)[: len(groups) // 2])
    mask = torch.from_numpy(attack)
    return examples.take(mask), examples.take(~mask)
