"""What a model said that can only be asked."""

from typing import ClassVar

from auditor.checks.check import Check, NoSettings
from auditor.probes.outputs import figures
from auditor.records.access import Access
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import CheckRole, Reading, Score
from auditor.records.source import Source
from auditor.tasks.answers.task import SAID
from auditor.tasks.evaluation_logs.sets import LoggedSets
from auditor.tasks.evaluation_logs.subject import LoggedAnswers


class Outputs(Check[LoggedAnswers, LoggedSets, NoSettings, None]):
    """T: mean over forget questions, asked as they stand, of ROUGE-L recall of the right answer in what was said.

    Retain accuracy is the same of retain questions. It cannot clear: what a model said says nothing of its weights.
    """

    name: ClassVar[str] = "outputs"
    role: ClassVar[CheckRole] = "outputs"
    family: ClassVar[Family] = "behaviour"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "samples"
    tasks: ClassVar[tuple[str, ...]] = ("answers",)
    requests: ClassVar[tuple[str, ...]] = ("facts",)
    summary: ClassVar[str] = "Held what was said to each question against the right answer, word by word."
    finds: ClassVar[str] = "Asked directly, the model gave away"
    unit: ClassVar[str] = "share of the right answers' words said to forget questions (0 to 1)"
    cost: ClassVar[str] = "none: the models were asked before"
    figures: ClassVar[tuple[Figure, ...]] = figures.ANSWERS
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="Lin 2004", here="ROUGE-L recall of what was said", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Outputs show what a model says, not what it knows: forgotten outputs alone never mean deletion.",
        "That the answers are of the model they are said to be of was not checked here.",
    )

    def score(self, subject: LoggedAnswers, artefact: None, data: LoggedSets, settings: NoSettings, seed: int) -> Score:
        """Average what one model said."""
        said = {part: subject.column(part, SAID) for part in ("forget", "retain")}
        means = {part: float(values.mean()) for part, values in said.items()}
        return Score(
            check=self.name,
            readings={"ROUGE-L": Reading(value=means["forget"], examples=tuple(said["forget"].tolist()))},
            n_examples=len(data.forget_eval),
            retain_accuracy=means["retain"],
            rows=[{"split": part, "accuracy": means[part], "n": len(values)} for part, values in said.items()],
        )
