"""Examples of any kind: inputs and targets of any shape, and the sets of them that an audit looks at."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from auditor.checks.sets import Sets
from auditor.digests import bytes_digest, chunks_digest, text_digest


@dataclass(frozen=True, kw_only=True)
class CustomExamples:
    """Inputs and targets, row by row.

    Attributes:
        inputs: floats as float32, whole numbers and truth values as they are, [n, ...].
        targets: likewise, [n, ...].
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: Tensor) -> "CustomExamples":
        """The examples at ``indices``, int64 [m] or bool [n]."""
        return replace(self, inputs=self.inputs[indices], targets=self.targets[indices])

    def batches(self, size: int) -> Iterator["CustomExamples"]:
        """At most ``size`` examples at a time, in order."""
        for start in range(0, len(self), size):
            yield self.take(torch.arange(start, min(start + size, len(self))))

    @property
    def labelled(self) -> bool:
        """Whether targets are one whole number for each example, which is then the class that it belongs to."""
        return self.targets.ndim == 1 and not (self.targets.is_floating_point() or self.targets.is_complex())

    @property
    def labels(self) -> Tensor:
        """The targets where these are classes; else all examples are of one kind. int64 [n]."""
        return self.targets.long() if self.labelled else torch.zeros(len(self), dtype=torch.int64)

    @property
    def nbytes(self) -> int:
        """Of inputs and targets."""
        return sum(part.numel() * part.element_size() for part in (self.inputs, self.targets))

    @cached_property
    def content_hashes(self) -> list[str]:
        """SHA-256 of each example's bytes. Targets count: equal inputs are common where inputs are a few numbers."""
        rows = zip(_array(self.inputs), _array(self.targets), strict=True)
        return [bytes_digest(x.tobytes() + b"|" + y.tobytes()) for x, y in rows]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over shapes, types and numbers."""
        return chunks_digest(self._stored())

    def _stored(self) -> Iterator[bytes]:
        for part in (self.inputs, self.targets):
            yield f"{tuple(part.shape)} {part.dtype}".encode()
            yield _array(part).tobytes()


def _array(part: Tensor) -> np.ndarray:
    return np.ascontiguousarray(part.numpy())


def joined(*parts: CustomExamples) -> CustomExamples:
    """One set after another."""
    return CustomExamples(
        inputs=torch.cat([part.inputs for part in parts]), targets=torch.cat([part.targets for part in parts])
    )


@dataclass(frozen=True, kw_only=True)
class CustomSets(Sets[CustomExamples]):
    """The sets of one audit of a model that the user's class runs.

    Attributes:
        code: SHA-256 of that class: no number is the same where it is another.
    """

    code: str = ""

    @property
    def forget(self) -> CustomExamples:
        """Both halves, the attack half first."""
        return joined(self.forget_attack, self.forget_eval)

    @property
    def digest(self) -> str:
        """SHA-256 over every set, the request and the class."""
        parts = [f"{name}:{examples.digest}" for name, examples in sorted(self.splits().items())]
        return text_digest(f"{self.request} {self.classes} {self.n_classes} {parts} {self.code}")
