"""The task of evaluation logs: language models that were asked elsewhere, with numbers of their answers."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NoReturn

from torch import Tensor

from auditor.checks.sets import ExampleSet, sources
from auditor.errors import DataError, SpecError, UsageError
from auditor.loading.evaluation_logs import TASK
from auditor.loading.tensors import plain
from auditor.models.lineup import Lineup
from auditor.records.plan import PlannedData, PlannedModel
from auditor.records.spec import AuditSpec
from auditor.tasks.evaluation_logs.sets import LoggedSets, Questions, questions_of
from auditor.tasks.evaluation_logs.subject import LoggedAnswers
from auditor.tasks.task import Accuracy, Material, Task

_WHY = "an evaluation log holds answers that were given once: no model can be run; give checkpoints in place of logs"
_PARTS = ("forget", "retain")


class EvaluationLogs(Task[LoggedAnswers, LoggedSets]):
    """Questions and their numbers come with the models; nothing is run."""

    name: ClassVar[str] = TASK
    subject_type: ClassVar[type] = LoggedAnswers
    recognised: ClassVar[bool] = True
    page: ClassVar[str] = "evaluation-logs.md"
    suspects: ClassVar[str] = "check which model each log is of"
    others_listed: ClassVar[str | None] = "causal-lm"
    others_need: ClassVar[str] = "the models themselves"
    access_note: ClassVar[str] = (
        "read from evaluation logs: what the models answered and how probable the right answers were, and nothing of "
        "what their weights hold"
    )

    def material(
        self, spec: AuditSpec, lineup: Lineup, given: Mapping[str, object], base: Path
    ) -> Material[LoggedAnswers, LoggedSets]:
        """The questions that every log is about.

        Raises:
            DataError: two logs are not about the same questions.
            SpecError: something is given that logs leave no use for.
        """
        _refuse_what_is_not_used(spec, given)
        columns = {name: entry.weights() for name, entry in lineup.entries.items()}
        asked = {part: _same_questions(part, columns, lineup) for part in _PARTS}
        data = LoggedSets(
            forget_eval=asked["forget"],
            retain=asked["retain"],
            columns=tuple(_measured(columns)),
        )

        def subject(model: PlannedModel) -> LoggedAnswers:
            return LoggedAnswers(lineup.entries[model.name].weights(), role=model.role, digest=model.digest)

        return Material(
            task=self.name,
            data=data,
            subject=subject,
            planned=tuple(_planned(part, questions) for part, questions in asked.items()),
            notes=(self.access_note, *self.notes(data), *_without_texts(columns)),
            lacks="the models themselves: what was answered shows nothing of what the weights hold",
        )

    def notes(self, data: LoggedSets) -> Iterator[str]:
        """What is missing in some log."""
        if not data.forget_eval.answers:
            yield "the logs hold no texts: that all models were asked the same is known by the questions' numbers alone"
        if "forget/rouge" not in data.columns:
            yield "not every log holds ROUGE-L of forget questions: what was said is left out of the outputs"

    def workshop(self, spec: AuditSpec, base: Path) -> NoReturn:
        """Not available."""
        raise UsageError(_WHY)

    def accuracy(self, subject: LoggedAnswers, data: LoggedSets) -> Accuracy:
        """Mean probability of the right answers."""
        kept = float(subject.column("retain", "probability").mean())
        forget = float(subject.column("forget", "probability").mean())
        return Accuracy(forget=forget, kept=kept, kept_alone=kept, n_kept=len(data.retain))

    def not_working(self, accuracy: float, n_classes: int) -> str:
        """The right answers to retain questions are improbable to the original."""
        return (
            f"the original gives the right answers to retain questions a mean probability of {accuracy:.2f}: "
            f"{self.suspects}; an original that knows nothing can show no forgetting"
        )

    def activations(self, subject: LoggedAnswers, examples: ExampleSet) -> NoReturn:
        """Not available."""
        raise UsageError(_WHY)


def _refuse_what_is_not_used(spec: AuditSpec, given: Mapping[str, object]) -> None:
    """Left unsaid, an audit would seem to rest on sets or code that it never looked at."""
    named = [f"data.{name}" for name, source in sources(given, spec.data).items() if source is not None]
    code = {
        "models.architecture": given.get("architecture") or spec.models.architecture,
        "models.guard": spec.models.guard,
        "models.base": spec.models.base,
    }
    named += [name for name, source in code.items() if source is not None]
    named += ["audit.gradient_checkpointing"] * spec.audit.gradient_checkpointing
    named += ["audit.write_canonical"] * spec.audit.write_canonical
    if named:
        raise SpecError(f"evaluation logs bring their questions along and run nothing: leave out {', '.join(named)}")
    if spec.request.kind not in (None, "facts"):
        raise SpecError(f'request.kind = "{spec.request.kind}", and evaluation logs are about facts; leave it out')
    if spec.request.goal != "data":
        raise SpecError('request.goal = "concept" needs the models themselves; with evaluation logs it is "data"')


def _same_questions(part: str, columns: Mapping[str, Mapping[str, Tensor]], lineup: Lineup) -> Questions:
    """Those of the original, which every other log has to be about as well."""
    own = questions_of(columns["original"], part)
    for name, found in columns.items():
        other = questions_of(found, part)
        # A log without texts cannot be held against one with texts; then the numbers have to do.
        texts = bool(own.answers and other.answers)
        if own.numbers != other.numbers or (texts and own.answers != other.answers):
            source = plain(lineup.entries[name].planned.source or name, 300)
            raise DataError(
                f"{source} is about {_differ(own, other)} {part} questions than the original's log: evaluate every "
                "model on the same split, with the same number of questions"
            )
    return own


def _differ(own: Questions, other: Questions) -> str:
    """In which way they are other questions."""
    if len(own) != len(other):
        return f"{len(other)} and not {len(own)}, so other"
    same = [] if own.numbers != other.numbers else zip(own.answers, other.answers, strict=True)
    differing = sum(a != b for a, b in same)
    return (
        f"other ({differing} of {len(own)} have another right answer)" if differing else "otherwise numbered, so other"
    )


def _planned(part: str, questions: Questions) -> PlannedData:
    return PlannedData(name=part, source=None, n_examples=len(questions), digest=questions.digest)


def _without_texts(columns: Mapping[str, Mapping[str, Tensor]]) -> Iterator[str]:
    """Models whose logs hold no texts while the original's does: a log of another split would not be noticed."""
    if questions_of(columns["original"], "forget").answers:
        bare = [name for name, found in columns.items() if not questions_of(found, "forget").answers]
        if bare:
            yield (
                f"the logs of {', '.join(bare)} hold no texts, and the original's does: that they are about the same "
                "questions is known by the questions' numbers alone"
            )


def _measured(columns: Mapping[str, Mapping[str, Tensor]]) -> Iterator[str]:
    """Columns that every log holds, the questions and their right answers aside."""
    for name in columns["original"]:
        if name.partition("/")[2] not in ("question", "answer") and all(name in found for found in columns.values()):
            yield name
