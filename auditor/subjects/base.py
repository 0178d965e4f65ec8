"""The interface every check sees instead of a model."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from auditor.data import Examples
from auditor.recording import Recording
from auditor.records.score import CanonicalForm

CANONICAL_EXAMPLES = 512
CANONICAL_FACTS = 256
"""Retain examples, and facts, by which a model's units are rescaled, at most."""
CANONICAL_PASSES = 3
"""Over them: one finds the scales; one of either form, batch by batch, shows that both compute the same."""


def movable_copy(module: nn.Module) -> nn.Module:
    """A deep copy all of whose weights train: what its owner froze, an attacker need not."""
    clone = copy.deepcopy(module)
    for parameter in clone.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return clone


@dataclass
class PassCounter:
    """Examples sent forward, shared by a subject and its clones, so that a test can count a check's cost."""

    examples: int = 0


class Subject(Protocol):
    """A model under audit.

    Attributes:
        role: ``original``, ``unlearned``, or the name of a reference or decoy.
        digest: SHA-256 of its weights.
        module: the network, in eval mode; attacks train a clone's.
        passes: examples sent forward so far.
        beneath: digest of the weights that are left when a guard or an adapter is taken off; None without one.
        form: the canonical form that ``module`` has been brought into; None where it stands as it was given.
        batch_size: examples per forward pass.
    """

    role: str
    digest: str
    module: nn.Module
    passes: PassCounter
    beneath: str | None
    form: CanonicalForm | None
    batch_size: int

    def layers(self) -> tuple[str, ...]:
        """Names of the cut points recorded, from input to output; the last feeds the head."""

    def vector_layers(self) -> tuple[str, ...]:
        """The cut points whose activation is one vector per example; at least the head's input, where there is one."""

    def head(self) -> nn.Linear | None:
        """The last linear map, or None where the network does not end in one."""

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [n, classes] with gradients, one batch as it is: for attacks that train."""

    def logits(self, examples: Examples) -> Tensor:
        """Logits without gradients, float32 [n, classes], in batches of the plan's size."""

    def recording(self, split: str) -> Recording:
        """The one pass over a named split, made when first asked for and kept."""

    def activations(self, inputs: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """Raw activations of one batch at the named cut points, without gradients."""

    def intervene(self, layer: str, function: Callable[[Tensor], Tensor]) -> AbstractContextManager[None]:
        """While the context is open, the activation at ``layer`` is replaced by ``function`` of it."""

    def unguarded(self) -> "Subject":
        """The weights without the guard, filter or prompt that stands around them; itself where there is none."""

    def clone(self) -> "Subject":
        """An independent copy whose weights may be changed, frozen ones too."""

    def canonical(self) -> "Subject":
        """A clone that computes the same function with homogeneous units rescaled to unit retain RMS.

        Where an attack starts: by any factor, and only for the attack. The form that is audited and deployed is
        another (:mod:`auditor.subjects.canonical_form`).
        """

    def batches(self, examples: Examples) -> Iterator[tuple[Tensor, Tensor]]:
        """(inputs, labels) in the plan's batch size, on the model's device."""
