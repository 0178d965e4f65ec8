"""What the model says: does it still answer with the forget set's labels?"""

from typing import ClassVar

import torch
from torch import Tensor

from auditor.attacks.membership.images import blind_baseline
from auditor.attacks.membership.readings import is_void
from auditor.checks.check import Check, NoSettings
from auditor.checks.sets import ExampleSet, Sets
from auditor.inference.auc import Rate
from auditor.probes.outputs import figures
from auditor.randomness import derive_seed
from auditor.records.access import Access
from auditor.records.base import Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import CheckRole, Reading, Score, Sides
from auditor.tasks.classification.recording import Recording
from auditor.tasks.classification.sets import AuditData
from auditor.tasks.classification.sides import sides
from auditor.tasks.classification.subject import Classifier
from auditor.tasks.task import KEPT_ALONE


class Outputs(Check[Classifier, AuditData, NoSettings, Rate | None]):
    """Accuracy on the forget set, less the rate at which retain examples are called the same.

    For a class request T = P(predicted ∈ F | label ∈ F) − P(predicted ∈ F | retain), F the forgotten classes and
    a hit the right class among them: Youden's J, so that a model which answers with a forgotten class whatever it
    is shown scores 0. For listed samples T is the accuracy on their labels as given. Both halves of the forget set
    are measured, since nothing is trained on either. Retain accuracy is that on ``retain_test`` where it is given.
    """

    name: ClassVar[str] = "outputs"
    role: ClassVar[CheckRole] = "outputs"
    family: ClassVar[Family] = "behaviour"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "samples"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    summary: ClassVar[str] = "Asked the model about every forget and retain example and counted the right answers."
    finds: ClassVar[str] = "Asked directly, the model shows"
    unit: ClassVar[str] = "accuracy on forget, less false alarms on retain for a class request (0 to 1)"
    figures: ClassVar[tuple[Figure, ...]] = figures.IMAGES
    caveats: ClassVar[tuple[str, ...]] = (
        "Outputs show what a model says, not what it knows: forgotten outputs alone never mean deletion.",
    )

    def prepare(self, original: Classifier, data: AuditData, settings: NoSettings, seed: int) -> Rate | None:
        """How well forget and holdout are told apart without any model, where only a word says that chance did it."""
        if data.assigned != "declared" or data.holdout is None:
            return None
        return blind_baseline(data, data.holdout, derive_seed(seed, "assignment"))

    def score(
        self, subject: Classifier, artefact: Rate | None, data: AuditData, settings: NoSettings, seed: int
    ) -> Score:
        """Measure one model from its recordings."""
        forget = [subject.recording("forget_attack"), subject.recording("forget_eval")]
        correct = torch.cat([part.correct for part in forget])
        # Of listed samples retain holds the same labels, and to answer with one is no false alarm.
        alarms = _false_alarms(subject.recording("retain"), data) if data.request == "class" else 0.0
        # One rate taken off every example keeps T a mean over examples, whose sampling error can be worked out.
        contributions = correct.double() - alarms
        return Score(
            check=self.name,
            readings={
                "accuracy": Reading(
                    value=float(contributions.mean()),
                    examples=tuple(contributions.tolist()),
                    sides=_sides(subject, data, contributions, alarms) if data.by_chance else None,
                )
            },
            # Without false alarms: a rate of 0 or 1 gets its exact binomial bound from these.
            hits=int(correct.sum()),
            n_examples=len(correct),
            chance=_chance(subject, data),
            retain_accuracy=_accuracy(subject.recording(data.utility_split)),
            # The models have no class for what control examples show.
            rows=[_row(split, subject.recording(split)) for split in data.splits() if split != "control"],
            controls={"false alarms on retain": alarms, KEPT_ALONE: _kept_alone(subject, data)},
            notes=utility_notes(data),
            not_applicable_because=_not_by_chance(artefact),
        )


def _sides(subject: Classifier, data: AuditData, forget: Tensor, alarms: float) -> Sides:
    return sides(data, [forget], subject.recording("holdout").correct.double() - alarms)


def _not_by_chance(blind: Rate | None) -> str | None:
    """Why holdout cannot be what chance left out of forget; nothing that was compared with it then says anything."""
    if blind is None or not is_void(blind):
        return None
    return (
        f"pixels and labels alone tell forget from holdout (blind AUC {blind.value:.2f}, lower limit {blind.low:.2f}), "
        "so that chance did not divide them; take assignment out of the request, or give the record of the draw"
    )


def utility_notes(data: Sets[ExampleSet]) -> tuple[str, ...]:
    """What retain accuracy was measured on, where that flatters a model: on what it has seen it saturates."""
    if data.utility_split == "retain_test":
        return ()
    return (
        "Retain accuracy was measured on training examples, where it saturates and can hide damage and a recipe that "
        "does not match; data.retain_test takes examples that no model was trained on.",
    )


def _accuracy(recording: Recording) -> float:
    return float(recording.correct.double().mean())


def _kept_alone(subject: Classifier, data: AuditData) -> float:
    """Retain accuracy where the forgotten classes are no possible answer: fair to models that know other classes."""
    kept = subject.recording(data.utility_split)
    logits = kept.logits.index_fill(1, torch.tensor(data.classes, dtype=torch.int64), -torch.inf)
    return float((logits.argmax(1) == kept.labels).double().mean())


def _false_alarms(retain: Recording, data: AuditData) -> float:
    called = torch.isin(retain.logits.argmax(1), torch.tensor(data.classes))
    return float(called.double().mean())


def _chance(subject: Classifier, data: AuditData) -> float:
    """T of a model without the knowledge: no better than false alarms; for samples, the holdout's accuracy."""
    if data.request == "class":
        return 0.0
    if data.holdout is not None:
        return _accuracy(subject.recording("holdout"))
    return 1.0 / data.n_classes


def _row(split: str, recording: Recording) -> Row:
    probability = recording.logits.double().softmax(1).gather(1, recording.labels[:, None])
    return {
        "split": split,
        "accuracy": _accuracy(recording),
        "probability": float(probability.mean()),
        "loss": float(recording.losses.mean()),
        "n": len(recording),
    }
