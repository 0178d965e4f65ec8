"""What a language model said when it was asked elsewhere: read off the logs of its evaluation."""

from typing import ClassVar

from auditor.checks.check import Check, NoSettings
from auditor.probes.outputs import figures
from auditor.records.access import Access
from auditor.records.base import Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import CheckRole, Reading, Score
from auditor.records.source import Source
from auditor.tasks.evaluation_logs.sets import LoggedSets
from auditor.tasks.evaluation_logs.subject import LoggedAnswers, Part

_READINGS = {"probability": "probability", "ROUGE-L": "rouge"}


class Outputs(Check[LoggedAnswers, LoggedSets, NoSettings, None]):
    """Two readings of every forget question, T their mean, as they were logged.

    - *probability*: exp of the right answer's mean token log-probability.
    - *ROUGE-L*: recall of the right answer's words in what the model said; left out where some log lacks it.

    Retain accuracy is the mean probability of the right answers to retain questions. It cannot clear: what a model
    answered says nothing of what its weights hold.
    """

    name: ClassVar[str] = "outputs"
    role: ClassVar[CheckRole] = "outputs"
    family: ClassVar[Family] = "behaviour"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "logits"
    tasks: ClassVar[tuple[str, ...]] = ("evaluation-logs",)
    requests: ClassVar[tuple[str, ...]] = ("facts",)
    summary: ClassVar[str] = "Read off the logs how probable the right answers were, and what was said."
    finds: ClassVar[str] = "Asked directly, the model gave away"
    unit: ClassVar[str] = "mean of answer probability and ROUGE-L recall on forget questions (0 to 1)"
    cost: ClassVar[str] = "none: the models were asked before"
    figures: ClassVar[tuple[Figure, ...]] = figures.LOGS
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="Lin 2004", here="ROUGE-L recall of what was said, half of the score", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Outputs show what a model says, not what it knows: forgotten outputs alone never mean deletion.",
        "The numbers are those of whoever evaluated the models: that a log is of the model it is said to be of, and "
        "that all were asked in the same way, was not checked here.",
        "Retain accuracy is here the mean probability of the right answers to retain questions.",
    )

    def score(self, subject: LoggedAnswers, artefact: None, data: LoggedSets, settings: NoSettings, seed: int) -> Score:
        """Average one model's columns."""
        logged = {name: column for name, column in _READINGS.items() if f"forget/{column}" in data.columns}
        values = {name: subject.column("forget", column) for name, column in logged.items()}
        return Score(
            check=self.name,
            readings={name: Reading(value=float(v.mean()), examples=tuple(v.tolist())) for name, v in values.items()},
            n_examples=len(data.forget_eval),
            retain_accuracy=float(subject.column("retain", "probability").mean()),
            rows=[_row(subject, "forget", data), _row(subject, "retain", data)],
        )


def _row(subject: LoggedAnswers, part: Part, data: LoggedSets) -> Row:
    means = {
        name: float(subject.column(part, column).mean())
        for name, column in _READINGS.items()
        if f"{part}/{column}" in data.columns
    }
    return {"split": part, **means, "n": len(data.forget_eval if part == "forget" else data.retain)}
