"""What a check is. A new one is one file with a subclass of :class:`Check` and an entry point."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from auditor.models.saved_autoencoder import SavedAutoencoder
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Score


class Workload(Frozen):
    """Examples sent through the network, for the estimate before an audit runs."""

    forward: int = 0
    training: int = 0


class NoSettings(Frozen):
    """For a check without settings."""


class Check(ABC):
    """Measures, identically on every model, how much of the forget set it recovers.

    Subjects and data are those of its tasks: :class:`~auditor.subjects.base.Subject` and
    :class:`~auditor.data.AuditData` for classifiers, :class:`~auditor.subjects.causal_lm.CausalLM` and
    :class:`~auditor.facts.FactsData` for language models. A check opens the model unless it says otherwise: where
    a guard stands around the weights it is given the weights without it.

    Attributes:
        name: as written in the plan, the report and the entry point.
        family: what kind of evidence it is.
        may: ``clear`` (and accuse), ``accuse``, or ``inform``.
        tasks: subject adapters it serves.
        requests: kinds of request it serves.
        needs: example sets without which it cannot run: ``forget``, ``retain``, ``holdout``, ``control``.
        summary: one sentence for the report: what was done.
        unit: what the score is, in words.
        cost: extra forward or training passes, in words.
        decoys: names of the decoys it has to detect before it may clear.
        figures: how its rows are drawn; a report draws the scores alone where there are none.
        caveats: what the check does not show, in words.
        settings_type: its settings, all with defaults.
        least_spread: smallest believable spread between models that never saw the forget set, as a share of Δ; for a
            check whose score has a long tail that a handful of references does not show.
        opens: whether it looks behind a guard; False for a check of what the model says.
        null_lacks_knowledge: whether draws of its own null say what *that* model would score without the knowledge, as
            items never taught do; then each model is held against its own draws. False where draws are random
            interventions: the original still answers after any of them, so its draws are no baseline.
    """

    name: ClassVar[str]
    family: ClassVar[Family]
    may: ClassVar[May]
    tasks: ClassVar[tuple[str, ...]]
    requests: ClassVar[tuple[str, ...]] = ("class", "sample")
    needs: ClassVar[tuple[str, ...]] = ("forget", "retain")
    summary: ClassVar[str]
    unit: ClassVar[str]
    cost: ClassVar[str] = "none beyond the shared recording"
    decoys: ClassVar[tuple[str, ...]] = ()
    figures: ClassVar[tuple[Figure, ...]] = ()
    caveats: ClassVar[tuple[str, ...]] = ()
    settings_type: ClassVar[type[Frozen]] = NoSettings
    least_spread: ClassVar[float] = 0.0
    opens: ClassVar[bool] = True
    null_lacks_knowledge: ClassVar[bool] = True

    def planned_settings(self, references: int, autoencoder: SavedAutoencoder | None = None) -> Frozen:
        """The settings of an audit with so many references, and this saved autoencoder; default the defaults.

        For a check that draws a costly null of its own, which nothing asks for where references are the null, or that
        would train an autoencoder.
        """
        return self.settings_type()

    def prepare(self, original: Any, data: Any, settings: Any, seed: int) -> Any:
        """Learn something from the original once; what is returned reaches every :meth:`score`."""
        return None

    @abstractmethod
    def score(self, subject: Any, artefact: Any, data: Any, settings: Any, seed: int) -> Score:
        """Measure one model. The same seed is used for every model, so that draws are paired."""

    def workload(self, data: Any, settings: Any, n_layers: int) -> Workload:
        """What :meth:`score` costs beside the shared recording, on one model; default nothing.

        Args:
            data: the audit's sets.
            settings: of the check.
            n_layers: how many layers are recorded.
        """
        return Workload()

    def settle(self, original: Score, references: Sequence[Score]) -> Callable[[Score], Score]:
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
