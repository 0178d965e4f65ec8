"""What a task is: how sets are read, what structure is looked for, which subjects hide the models.

A new one is a folder here, or a package of its own, with a subclass of :class:`Task` and an entry point of the group
``unlearning_auditor.tasks``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from torch import Tensor

from auditor.checks.sets import ExampleSet, Sets
from auditor.checks.subject import Loss, Subject
from auditor.errors import SpecError
from auditor.models.canonical_file import CanonicalFile
from auditor.models.lineup import Lineup
from auditor.models.references import Workshop
from auditor.records.draft import Line
from auditor.records.plan import PlannedAssignment, PlannedData, PlannedModel
from auditor.records.spec import AuditSpec
from auditor.tasks.pool import Pool

KEPT_ALONE = "retain accuracy, forgotten classes aside"
"""The control of the check `outputs` that holds :attr:`Accuracy.kept_alone`."""

SubjectT = TypeVar("SubjectT", bound=Subject)
SetsT = TypeVar("SetsT", bound=Sets[ExampleSet])


@dataclass(frozen=True, kw_only=True)
class Material(Generic[SubjectT, SetsT]):
    """Sets, structure and a maker of subjects.

    Attributes:
        task: name of the task; that of bare weights where something is missing to run the models.
        data: the sets, split; empty ones where nothing can be run.
        planned: the sets for the plan.
        notes: findings about the input.
        preprocessing: what is done to an example before the model sees it, for the plan.
        layers: names of the layers recorded; none where nothing can be run.
        unproven: why no audit of this task clears as yet; None where it may.
        offers: capabilities of its subjects by name, where the user's code decides them; None where the task does.
        assignment: where chance divided forget and holdout; None where nothing says so.
        decoys: planned suppressed copies of the original.
        decoys_on_request: further ones, costly, which an audit makes only where a check asks for them by name.
        subject: makes the subject of a planned model; called only when a score has to be computed.
        as_given: makes that of a model that is no decoy before it is brought into canonical form, which takes a pass
            over every set: to look at inputs and costs. None where nothing can be run.
        weight_bytes: of one model in the type that the audit computes in.
        width: of the original's residual stream; None for networks without one.
        canonical: makes and writes canonical forms; None where nothing can be run.
        lacks: where nothing can be run, what would change that, and what is missing without it.
    """

    task: str
    data: SetsT
    subject: Callable[[PlannedModel], SubjectT]
    as_given: Callable[[PlannedModel], SubjectT] | None = None
    weight_bytes: int = 0
    width: int | None = None
    canonical: CanonicalFile | None = None
    lacks: str = "an architecture, a forget set and a retain set: without them only weights can be compared"
    planned: tuple[PlannedData, ...] = ()
    notes: tuple[str, ...] = ()
    unproven: str | None = None
    preprocessing: dict[str, object] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    offers: tuple[str, ...] | None = None
    assignment: PlannedAssignment | None = None
    decoys: tuple[PlannedModel, ...] = ()
    decoys_on_request: tuple[PlannedModel, ...] = ()

    @property
    def runnable(self) -> bool:
        """Whether models can be run, not only compared."""
        return bool(self.layers) or self.offers is not None


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How often one model is right; for facts, the share of answer tokens that are its first choice.

    Attributes:
        forget: on the forget set.
        kept: on ``retain_test`` where that is given, else on ``retain``.
        kept_alone: the same with the forgotten classes left out of the answers, so that a model that knows more
            classes is not held to be worse for them; for other requests the same as ``kept``.
        n_kept: examples behind ``kept``.
    """

    forget: float
    kept: float
    kept_alone: float
    n_kept: int


class Task(ABC, Generic[SubjectT, SetsT]):
    """One kind of model, and everything that an audit of it needs to know.

    Attributes:
        name: as written in the plan, and the name of the entry point.
        subject_type: class of its subjects; by the methods it has, checks of no task find out whether they can run.
        recognised: whether models or what was written of them say that they are of this task; else ``models.task`` has
            to name it.
        suspects: what to look at where an accuracy is not what it should be, as a request: "check …".
        page: of the documentation that holds its checks, in docs/.
        reads_autoencoders: whether an autoencoder saved by sae-lens can be used.
        others_listed: the task whose checks are listed as left out; the task itself by default.
        others_need: what those need beside example sets.
    """

    name: ClassVar[str]
    subject_type: ClassVar[type]
    recognised: ClassVar[bool] = False
    suspects: ClassVar[str]
    page: ClassVar[str] = "extending.md"
    reads_autoencoders: ClassVar[bool] = False
    others_listed: ClassVar[str | None] = None
    others_need: ClassVar[str] = "an architecture"

    @abstractmethod
    def material(
        self, spec: AuditSpec, lineup: Lineup, given: Mapping[str, object], base: Path
    ) -> Material[SubjectT, SetsT] | None:
        """Sets and structure; None where something is missing to run the models, so that only weights can be compared.

        Args:
            spec: the request.
            lineup: models.
            given: sets and tokenizer handed over in memory, by name.
            base: folder that paths are relative to.

        Raises:
            DataError: a set is unreadable, empty, of another shape, or leaks into all of another.
            ModelError: the models do not take the inputs, or their structure cannot be read.
            SpecError: a request of another task.
        """

    def look(self, spec: AuditSpec, lineup: Lineup, base: Path) -> list[Line]:
        """Lines of an audit.toml: what sets and models say, and what they leave open; by default nothing.

        Args:
            spec: what was given.
            lineup: models.
            base: folder that paths are relative to.

        Raises:
            UsageError: a set is unreadable, or does not fit the models.
        """
        return []

    def pool(self, spec: AuditSpec, lineup: Lineup, source: str, base: Path) -> Pool:
        """Examples in groups, of which nobody says what was to be forgotten; by default there are none.

        Args:
            spec: the request.
            lineup: models.
            source: of the examples.
            base: folder that paths are relative to.

        Raises:
            DataError: unreadable, or an example is of no group.
            SpecError: the task knows no groups.
        """
        raise SpecError(
            f"what was unlearned cannot be searched for in models of the task {self.name}: it has no groups"
        )

    @abstractmethod
    def workshop(self, spec: AuditSpec, base: Path) -> Workshop:
        """What references are made from.

        Raises:
            SpecError: a field that is needed is not given.
        """

    @abstractmethod
    def accuracy(self, subject: SubjectT, data: SetsT) -> Accuracy:
        """One pass over a few examples of the forget set and of what is kept.

        Raises:
            ValueError: the model gives NaN.
        """

    @abstractmethod
    def not_working(self, accuracy: float, n_classes: int) -> str:
        """What to say of an original near chance on what should be kept, with the fix."""

    @abstractmethod
    def activations(self, subject: SubjectT, examples: ExampleSet) -> Mapping[str, Tensor]:
        """Activations of one batch at every recorded layer: what the estimate of an audit times."""

    def loss(self, subject: SubjectT, examples: ExampleSet) -> Tensor | None:
        """That of one training step, with gradients: by it the estimate knows what a step holds; None if not known."""
        return subject.loss(examples) if isinstance(subject, Loss) else None


AnyTask: TypeAlias = Task[Any, Any]
"""A task of which only the name is known; its subjects and sets go back to it alone."""
AnyMaterial: TypeAlias = Material[Any, Any]
