"""What a check sees instead of a model: what every task's subjects offer, and what only some of them do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

from torch import Tensor

from auditor.checks.sets import ExampleSet
from auditor.records.score import CanonicalForm


@dataclass
class PassCounter:
    """Examples sent forward, shared by a subject and its clones, so that a test can count a check's cost."""

    examples: int = 0


class Subject(Protocol):
    """A model under audit, of any task; bare weights and what was logged of one included.

    Attributes:
        role: ``original``, ``unlearned``, or the name of a reference or decoy.
        digest: SHA-256 of its weights.
        passes: examples sent forward so far.
        base_digest: digest of the weights that are left when a guard or an adapter is taken off; None without one.
        form: the canonical form that its weights have been brought into; None where they stand as they were given.
        batch_size: examples per forward pass.
    """

    role: str
    digest: str
    passes: PassCounter
    base_digest: str | None
    form: CanonicalForm | None
    batch_size: int

    def unguarded(self) -> Self:
        """The weights without the guard, filter or prompt that stands around them; itself where there is none."""


# Capabilities have methods alone: only then can a class be asked, without a model of it, whether it offers one.


@runtime_checkable
class Scores(Protocol):
    """Capability: says of each example how well the model knows it."""

    def scores(self, split: str) -> Tensor:
        """The task's own score of each example of a set, float64 [n]; higher is more knowledge.

        A classifier's is the logit-scaled confidence in the label, a language model's the mean log-probability of the
        answer's tokens. Read off the shared recording: no pass of its own.
        """


@runtime_checkable
class Features(Protocol):
    """Capability: inner activations, one vector per example and layer."""

    def layers(self) -> tuple[str, ...]:
        """Names of the cut points recorded, from input to output."""

    def features(self, split: str) -> Mapping[str, Tensor]:
        """By layer, pooled activations of a set, float32 [n, width]. Read off the shared recording."""


@runtime_checkable
class Weights(Protocol):
    """Capability: what the model is made of. A log of its answers has none."""

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""


@runtime_checkable
class Loss(Protocol):
    """Capability: what a training step descends, so that a copy of the model can be trained."""

    def loss(self, examples: ExampleSet) -> Tensor:
        """Mean loss over a few examples in one batch: one number, with gradients in the weights."""


class ScoreSubject(Subject, Scores, Protocol):
    """For annotations: any subject that offers scores."""


class FeatureSubject(Subject, Features, Protocol):
    """For annotations: any subject that offers features."""


class WeightSubject(Subject, Weights, Protocol):
    """For annotations: any subject that offers weights."""


def lacking(offered: type, asked: tuple[type, ...]) -> tuple[str, ...]:
    """Names of the capabilities that subjects of a class do not offer, in lower case.

    >>> class Weights:
    ...     pass
    >>> lacking(Weights, (Scores, Features))
    ('scores', 'features')
    """
    return tuple(name_of(capability) for capability in asked if not issubclass(offered, capability))


def name_of(capability: type) -> str:
    """By which plans and messages call a capability."""
    return capability.__name__.lower()
