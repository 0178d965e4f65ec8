"""Labelled images, and the sets of them that an audit looks at."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from auditor.checks.sets import LabelledSet, Sets
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
        groups: what each example belongs to, such as the number of a person, int64, shape [n]; None where every
            example stands alone.
    """

    raw: Tensor
    labels: Tensor
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    groups: Tensor | None = None

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def take(self, indices: Tensor) -> "Examples":
        """The examples at ``indices``, int64 [m] or bool [n]."""
        groups = None if self.groups is None else self.groups[indices]
        return replace(self, raw=self.raw[indices], labels=self.labels[indices], groups=groups)

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
        """SHA-256 over shapes, inputs, labels, groups and preprocessing."""
        return chunks_digest([*self._stored(), self.preprocessing.model_dump_json().encode()])

    @property
    def stored_digest(self) -> str:
        """The same without preprocessing: of the examples before anyone says how a model takes them."""
        return chunks_digest(self._stored())

    def _stored(self) -> Iterator[bytes]:
        yield f"{tuple(self.raw.shape)} {self.raw.dtype}".encode()
        yield np.ascontiguousarray(self.raw.numpy()).tobytes()
        yield np.ascontiguousarray(self.labels.numpy()).tobytes()
        if self.groups is not None:
            yield np.ascontiguousarray(self.groups.numpy()).tobytes()


@dataclass(frozen=True, kw_only=True)
class AuditData(Sets[Examples]):
    """The sets of one audit of an image classifier; labels of ``control`` name concepts, no class of the models."""

    @property
    def forget(self) -> Examples:
        """Both halves, the attack half first."""
        return joined(self.forget_attack, self.forget_eval)

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


def joined(first: Examples, second: Examples) -> Examples:
    """One set after another, prepared as the first is; grouped where both are."""
    known = [part.groups for part in (first, second) if part.groups is not None]
    return replace(
        first,
        raw=torch.cat([first.raw, second.raw]),
        labels=torch.cat([first.labels, second.labels]),
        groups=torch.cat(known) if len(known) == 2 else None,
    )


def split_in_halves(examples: Examples, seed: int) -> tuple[Examples, Examples]:
    """Attack and eval halves; see :func:`attack_half`.

    Returns:
        (attack, eval), disjoint by content; each keeps the file's order.
    """
    mask = attack_half(examples, seed)
    return examples.take(mask), examples.take(~mask)


def attack_half(examples: LabelledSet, seed: int) -> Tensor:
    """Which examples an attack may train on: half of each label, identical ones on one side, bool [n]."""
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
    return torch.from_numpy(attack)
