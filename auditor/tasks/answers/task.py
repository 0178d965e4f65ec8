"""The task of answers: models that can only be asked, and were."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NoReturn

from auditor.checks.sets import ExampleSet
from auditor.errors import DataError, UsageError
from auditor.loading.answers import PLAIN, TASK
from auditor.loading.tensors import plain
from auditor.models.lineup import Lineup
from auditor.records.spec import AuditSpec
from auditor.tasks.evaluation_logs.sets import LoggedSets
from auditor.tasks.evaluation_logs.subject import LoggedAnswers
from auditor.tasks.evaluation_logs.task import EvaluationLogs
from auditor.tasks.task import Accuracy, Material

SAID = f"said {PLAIN}"
"""The column of what was said to questions as they stand."""
_WHY = "a file of answers holds what was said once: no model can be run; give checkpoints in place of answers"


class Answers(EvaluationLogs):
    """As with evaluation logs, questions and what was said come with the models; nothing is run."""

    name: ClassVar[str] = TASK
    page: ClassVar[str] = "answers.md"
    suspects: ClassVar[str] = "check which program was asked for the original"
    access_note: ClassVar[str] = "read from answers: what the models said, and nothing of what their weights hold"

    def material(
        self, spec: AuditSpec, lineup: Lineup, given: Mapping[str, object], base: Path
    ) -> Material[LoggedAnswers, LoggedSets]:
        """The questions that every model was asked.

        Raises:
            DataError: two were asked otherwise.
            SpecError: something is given that answers leave no use for.
        """
        found = super().material(spec, lineup, given, base)
        _check_asked_alike(lineup)
        return found

    def notes(self, data: LoggedSets) -> Iterator[str]:
        """None: a file of answers is whole, or it is refused."""
        yield from ()

    def workshop(self, spec: AuditSpec, base: Path) -> NoReturn:
        """Not available."""
        raise UsageError(_WHY)

    def accuracy(self, subject: LoggedAnswers, data: LoggedSets) -> Accuracy:
        """Mean recall of the right answers' words."""
        kept, forget = (float(subject.column(part, SAID).mean()) for part in ("retain", "forget"))
        return Accuracy(forget=forget, kept=kept, kept_alone=kept, n_kept=len(data.retain))

    def not_working(self, accuracy: float, n_classes: int) -> str:
        """The original does not say the right answers to retain questions."""
        return (
            f"the original says {accuracy:.2f} of the right answers' words to retain questions: {self.suspects}; an "
            "original that knows nothing can show no forgetting"
        )

    def activations(self, subject: LoggedAnswers, examples: ExampleSet) -> NoReturn:
        """Not available."""
        raise UsageError(_WHY)


def _check_asked_alike(lineup: Lineup) -> None:
    """Refuse answers to other prompts, or to more forms or samples: what differs would be the asking."""
    columns = {name: entry.weights() for name, entry in lineup.entries.items()}
    own = columns["original"]
    for name, found in columns.items():
        source = plain(lineup.entries[name].planned.source or name, 300)
        if found.keys() != own.keys():
            odd = sorted(found.keys() ^ own.keys())[0]
            raise DataError(
                f"{source} and the original's answers were not asked alike ({odd} is in one of them alone): ask every "
                "model with the same `audit ask` options"
            )
        for column in own:
            asked = column.partition("/")[2].startswith("asked ")
            if (asked and not found[column].equal(own[column])) or found[column].shape != own[column].shape:
                raise DataError(
                    f"{source} and the original's answers were not asked alike (other prompts or counts in {column}): "
                    "ask every model with the same facts, seed and samples"
                )
