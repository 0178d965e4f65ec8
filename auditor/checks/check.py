"""What a check is. A new one is one file with a subclass of :class:`Check` and an entry point."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from auditor.checks.sets import ExampleSet, Sets
from auditor.checks.subject import Subject
from auditor.models.saved_autoencoder import SavedAutoencoder
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import CheckRole, Score
from auditor.records.source import Source


class Workload(Frozen):
    """Examples sent through the network, for the estimate before an audit runs.

    Attributes:
        forward: without gradients.
        training: in all steps together.
        step: in the largest of them.
    """

    forward: int = 0
    training: int = 0
    step: int = 0


ATTACK_COPIES = 5
"""Of an attack that trains every weight: rescaled model, the copy that trains, gradients, two states of Adam."""
LOW_RANK_COPIES = 2
"""Of one through a low-rank change: rescaled model, and as much again for factors, their gradients and Adam's states,
which in a large model are far less."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What planned settings may depend on beside the request.

    Attributes:
        fits: whether the device holds a check that holds so many copies of a model's weights beside subject and
            original.
        width: of the original's residual stream; None for a network without one.
        access: what of the unlearned model may be used.
    """

    fits: Callable[[int], bool]
    width: int | None
    access: Access = "training"


class NoSettings(Frozen):
    """For a check without settings."""


SubjectT = TypeVar("SubjectT", bound=Subject)
SetsT = TypeVar("SetsT", bound=Sets[ExampleSet])
SettingsT = TypeVar("SettingsT", bound=Frozen)
ArtefactT = TypeVar("ArtefactT")


class Check(ABC, Generic[SubjectT, SetsT, SettingsT, ArtefactT]):
    """Measures, identically on every model, how much of the forget set it recovers.

    A check of one task names what it is given: :class:`~auditor.tasks.classification.subject.Classifier` and
    :class:`~auditor.tasks.classification.sets.AuditData`, or :class:`~auditor.tasks.causal_lm.subject.CausalLM` and
    :class:`~auditor.tasks.causal_lm.sets.FactsData`. One that names no task serves every task whose subjects offer the
    capabilities it asks for (:mod:`auditor.checks.subject`). A check opens the model unless it says otherwise: where a
    guard stands around the weights it is given the weights without it.

    Attributes:
        name: as written in the plan, the report and the entry point.
        family: what kind of evidence it is.
        may: ``clear`` (and accuse), ``accuse``, or ``inform``.
        role: ``outputs`` for the one check of a task that measures what the model says: by it the original is found to
            work, decoys are held back, and the verdict begins; ``weights`` for the one that records what the weights
            are. Both are part of every audit. ``evidence`` for all others.
        access: the least of the unlearned model that its score can rest on: ``samples`` (what it says), ``logits`` (how
            probable it finds answers), ``weights`` (read, changed or rounded) or ``training``; what is drawn beside the
            score is not counted. Undeclared it is ``training``: no less is then said to have shown it.
        tasks: those it serves, by name; none: every task whose subjects offer what it asks for.
        asks: capabilities that it needs of a subject.
        requests: kinds of request it serves.
        needs: example sets without which it cannot run: ``forget``, ``retain``, ``holdout``, ``control``.
        summary: one sentence for the report: what was done.
        finds: how the report's plain sentence begins; it goes on "77 % of what the original knew".
        unit: what the score is, in words.
        cost: extra forward or training passes, in words.
        decoys: names of the decoys it has to detect before it may clear.
        figures: how its rows are drawn; a report draws the scores alone where there are none.
        caveats: what the check does not show, in words.
        sources: papers that it carries, for the page of the literature (:mod:`auditor.literature`).
        settings_type: its settings, all with defaults.
        least_spread: smallest believable spread between models that never saw the forget set, as a share of Δ; for a
            check whose score has a long tail that a handful of references does not show.
        opens: whether it looks behind a guard; False for a check of what the model says.
        copies: how many times the weights of a model it holds at once beside subject and original, gradients and states
            of an optimiser counted: for the estimate of memory.
        null_lacks_knowledge: whether draws of its own null say what *that* model would score without the knowledge, as
            items never taught do; then each model is held against its own draws. False where draws are random
            interventions: the original still answers after any of them, so its draws are no baseline.
    """

    # Declared on the class: plans, lists and the contract read it without a model.
    name: ClassVar[str]
    family: ClassVar[Family]
    may: ClassVar[May]
    role: ClassVar[CheckRole] = "evidence"
    access: ClassVar[Access] = "training"
    tasks: ClassVar[tuple[str, ...]] = ()
    asks: ClassVar[tuple[type, ...]] = ()
    requests: ClassVar[tuple[str, ...]] = ("class", "sample")
    needs: ClassVar[tuple[str, ...]] = ("forget", "retain")
    summary: ClassVar[str]
    finds: ClassVar[str]
    unit: ClassVar[str]
    cost: ClassVar[str] = "none beyond the shared recording"
    decoys: ClassVar[tuple[str, ...]] = ()
    figures: ClassVar[tuple[Figure, ...]] = ()
    caveats: ClassVar[tuple[str, ...]] = ()
    sources: ClassVar[tuple[Source, ...]] = ()
    settings_type: ClassVar[type[Frozen]] = NoSettings
    least_spread: ClassVar[float] = 0.0
    opens: ClassVar[bool] = True
    copies: ClassVar[int] = 0
    null_lacks_knowledge: ClassVar[bool] = True

    def planned_settings(self, references: int, autoencoder: SavedAutoencoder | None = None) -> Frozen:
        """The settings of an audit with so many references, and this saved autoencoder; default the defaults.

        For a check that draws a costly null of its own, which nothing asks for where references are the null, or that
        would train an autoencoder.
        """
        return self.settings_type()

    def fitted(self, settings: SettingsT, room: Room, frozen: Mapping[str, object]) -> SettingsT:
        """The planned settings with what depends on the device and on the network's size decided; default as they are.

        Args:
            settings: as :meth:`planned_settings` gives them.
            room: what the device holds, and how wide the network is.
            frozen: settings of this check in a plan that is carried out again, whatever fits here; empty in a new one.
        """
        return settings

    def copies_of(self, settings: SettingsT) -> int:
        """How many times it holds the weights with these settings, as :attr:`copies` counts them; default those."""
        return self.copies

    def access_of(self, settings: SettingsT) -> Access:
        """What its score rests on with these settings; default :attr:`access`."""
        return self.access

    def decoys_of(self, settings: SettingsT) -> tuple[str, ...]:
        """Those of :attr:`decoys` that it has to detect with these settings; default all."""
        return self.decoys

    def prepare(self, original: SubjectT, data: SetsT, settings: SettingsT, seed: int) -> ArtefactT:
        """Learn something from the original once; what is returned reaches every :meth:`score`."""
        return None  # type: ignore[return-value]  # a check that learns nothing has the artefact None

    # Alone abstract: a check that learns nothing, rescales nothing and counts all its readings is this one method.
    @abstractmethod
    def score(self, subject: SubjectT, artefact: ArtefactT, data: SetsT, settings: SettingsT, seed: int) -> Score:
        """Measure one model. The same seed is used for every model, so that draws are paired."""

    def workload(self, data: SetsT, settings: SettingsT, n_layers: int) -> Workload:
        """What :meth:`score` costs beside the shared recording, on one model; default nothing.

        Args:
            data: the audit's sets.
            settings: of the check.
            n_layers: how many layers are recorded.
        """
        return Workload()

    def rescale(self, original: Score, references: Sequence[Score]) -> Callable[[Score], Score]:
        """From what was measured on a model to the readings that :meth:`choose` chooses among; default no change.

        For a check whose readings have to be brought to one scale, which original and references define. The
        function is applied to every model alike.
        """
        return lambda score: score

    def choose(self, original: Score, references: Sequence[Score]) -> tuple[str, ...]:
        """Which readings make up T, from the attack half of original and references only; default all."""
        return tuple(original.readings)

    def summarise(
        self, scores: Mapping[str, Score], references: Sequence[str]
    ) -> tuple[list[Row], dict[str, dict[str, float]]]:
        """Cells and controls (by model) that need several models at once; they decide nothing.

        Args:
            scores: of every model, by name; ``original`` and ``unlearned`` among them.
            references: names of the counted references.
        """
        return [], {}


AnyCheck: TypeAlias = Check[Any, Any, Any, Any]
"""A check of which only the name is known. Its task gives it the subjects and sets that it expects, and the plan its
settings; no type can say so where checks of all tasks stand in one list."""
