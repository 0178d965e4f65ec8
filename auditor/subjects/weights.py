"""A pair of checkpoints without an architecture: weights to compare, nothing to run."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.records.score import CanonicalForm
from auditor.subjects.base import PassCounter
from auditor.subjects.canonical_form import rounded


@dataclass
class WeightsOnly:
    """Tensors by name, with the digest of their file. Anything that would run them is refused.

    What is dead cannot be known without running them, so that all there is of a canonical form is the rounding.

    Attributes:
        tensors: parameters and buffers, as given.
        role: name in the audit.
        digest: SHA-256 of the tensors as given.
    """

    tensors: dict[str, Tensor]
    role: str
    digest: str
    beneath: str | None = None
    form: CanonicalForm | None = None
    batch_size: int = 1
    passes: PassCounter = field(default_factory=PassCounter)

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, rounded to what bfloat16 holds."""
        return {name: rounded(t) if t.is_floating_point() else t for name, t in self.tensors.items()}

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
