"""What a model of any kind says of the forget set, by the score that the user's class gives."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch

from auditor.checks.check import Check, NoSettings
from auditor.checks.subject import Scores
from auditor.probes.outputs import figures
from auditor.probes.outputs.images import utility_notes
from auditor.records.access import Access
from auditor.records.base import Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import CheckRole, Reading, Score
from auditor.tasks.custom import scale
from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.custom.subject import CustomModel

SCORE = "score"


class Outputs(Check[CustomModel, CustomSets, NoSettings, None]):
    """The user's score of every forget example, between the references and the original.

    T = mean over forget examples of x_i, about 0 like the references and 1 like the original
    (:mod:`auditor.tasks.custom.scale`). Both halves of the forget set are measured, since nothing is trained on either.
    Retain accuracy is what the user's class calls correct, else the share of kept examples that score at least what
    nine in ten of the original's do (:mod:`auditor.tasks.custom.utility`), on ``retain_test`` where it is given.
    Without two references scores have no scale, and nothing follows from them.
    """

    name: ClassVar[str] = "outputs"
    role: ClassVar[CheckRole] = "outputs"
    family: ClassVar[Family] = "behaviour"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "logits"
    tasks: ClassVar[tuple[str, ...]] = ("custom",)
    asks: ClassVar[tuple[type, ...]] = (Scores,)
    summary: ClassVar[str] = "Scored every forget and retain example by the class that was given for these models."
    finds: ClassVar[str] = "Asked directly, the model shows"
    unit: ClassVar[str] = "score of forget examples, from about 0 like the references to 1 like the original"
    figures: ClassVar[tuple[Figure, ...]] = figures.CUSTOM
    # References that score next to 0 agree by luck, and a retrain that does a little better would stand far above them.
    least_spread: ClassVar[float] = 0.025
    caveats: ClassVar[tuple[str, ...]] = (
        "Outputs show what a model says, not what it knows: forgotten outputs alone never mean deletion.",
        "What the score measures is up to the class that was given.",
    )

    def score(self, subject: CustomModel, artefact: None, data: CustomSets, settings: NoSettings, seed: int) -> Score:
        """Measure one model from its recordings."""
        forget = torch.cat([subject.scores("forget_attack"), subject.scores("forget_eval")])
        return Score(
            check=self.name,
            readings={SCORE: Reading(value=float(forget.mean()), examples=tuple(forget.tolist()))},
            n_examples=len(forget),
            retain_accuracy=float(subject.recording(data.utility_split).right.mean()),
            rows=[_row(subject, split) for split in data.splits()],
            notes=utility_notes(data),
        )

    def rescale(self, original: Score, references: Sequence[Score]) -> Callable[[Score], Score]:
        """From the user's unit to the common scale."""
        return scale.rescale(original, references, SCORE)


def _row(subject: CustomModel, split: str) -> Row:
    found = subject.recording(split)
    return {
        "split": split,
        "accuracy": float(found.right.mean()),
        "score": float(found.scores.mean()),
        "n": len(found),
    }
