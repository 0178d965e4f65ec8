"""A pair of checkpoints without an architecture or without sets: weights to compare, nothing to run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NoReturn

from torch import Tensor, nn

from auditor.checks.sets import ExampleSet, Sets
from auditor.checks.subject import PassCounter
from auditor.errors import UsageError
from auditor.models.canonical_form import rounded
from auditor.models.lineup import Lineup
from auditor.records.plan import PlannedModel
from auditor.records.score import CanonicalForm
from auditor.records.spec import AuditSpec
from auditor.tasks.task import Accuracy, Material, Task

_WHY = "this check runs the model; give its architecture as module.py:function"


@dataclass
class Weights:
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
    base_digest: str | None = None
    form: CanonicalForm | None = None
    # A subject has one; nothing here is sent through a model.
    batch_size: int = 1
    passes: PassCounter = field(default_factory=PassCounter)

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, rounded to what bfloat16 holds."""
        # So that other low bits do not make the original's weights look changed (docs/verdict.md).
        return {name: rounded(t) if t.is_floating_point() else t for name, t in self.tensors.items()}

    def unguarded(self) -> "Weights":
        """Itself."""
        return self

    @property
    def module(self) -> nn.Module:
        """Not available.

        Raises:
            UsageError: always.
        """
        raise UsageError(_WHY)


@dataclass(frozen=True)
class NoExamples:
    """The empty set."""

    content_hashes: list[str] = field(default_factory=list)
    digest: str = ""
    nbytes: int = 0

    def __len__(self) -> int:
        return 0

    def take(self, indices: Tensor) -> "NoExamples":
        """Itself."""
        return self


@dataclass(frozen=True, kw_only=True)
class NoSets(Sets[NoExamples]):
    """What is asked for, without examples."""

    request: str = "class"
    classes: tuple[int, ...] = ()
    n_classes: int = 0
    forget_attack: NoExamples = NoExamples()
    forget_eval: NoExamples = NoExamples()
    retain: NoExamples = NoExamples()

    @property
    def digest(self) -> str:
        """Of nothing but the request."""
        return f"{self.request} {self.classes}"


class WeightsOnly(Task[Weights, NoSets]):
    """The task that is left when models cannot be run."""

    name: ClassVar[str] = "weights"
    subject_type: ClassVar[type] = Weights
    recognised: ClassVar[bool] = True
    suspects: ClassVar[str] = "check the two checkpoints"
    # Nothing says what the models are for; what an image audit would have run is what a reader can do next.
    others_listed: ClassVar[str | None] = "classification"

    def material(
        self, spec: AuditSpec, lineup: Lineup, given: Mapping[str, object], base: Path
    ) -> Material[Weights, NoSets]:
        """Without sets nothing can be read off labels: the request is what was asked, about classes if nothing was."""

        def subject(model: PlannedModel) -> Weights:
            return Weights(lineup.entries[model.name].weights(), role=model.role, digest=model.digest)

        data = NoSets(request=spec.request.kind or "class", classes=spec.request.classes)
        return Material(task=self.name, data=data, subject=subject)

    def workshop(self, spec: AuditSpec, base: Path) -> NoReturn:
        """Not available."""
        raise UsageError(_WHY)

    def accuracy(self, subject: Weights, data: NoSets) -> Accuracy:
        """Not available."""
        raise UsageError(_WHY)

    def not_working(self, accuracy: float, n_classes: int) -> str:
        """Not asked: nothing is measured."""
        raise UsageError(_WHY)

    def activations(self, subject: Weights, examples: ExampleSet) -> NoReturn:
        """Not available."""
        raise UsageError(_WHY)
