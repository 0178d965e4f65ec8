"""A pair of checkpoints without an architecture: weights to compare, nothing to run."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.subjects.base import PassCounter


@dataclass
class WeightsOnly:
    """Tensors by name, with the digest of their content. Anything that would run them is refused.

    Attributes:
        tensors: parameters and buffers.
        role: name in the audit.
        digest: SHA-256 of the tensors.
    """

    tensors: dict[str, Tensor]
    role: str
    digest: str
    beneath: str | None = None
    batch_size: int = 1
    passes: PassCounter = field(default_factory=PassCounter)

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""
        return self.tensors

    def unguarded(self) -> "WeightsOnly":
        """Itself."""
        return self

    @property
    def module(self) -> nn.Module:
        """Not available.

        Raises:
            UsageError: always.
        """
        raise UsageError("this check runs the model; give its architecture as module.py:function")
