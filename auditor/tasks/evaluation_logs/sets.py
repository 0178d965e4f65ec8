"""The questions of a log: known by their numbers and, where the log holds texts, by their right answers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from auditor.checks.sets import Sets
from auditor.digests import text_digest


@dataclass(frozen=True)
class Questions:
    """A set of questions, in the order of their numbers.

    Attributes:
        numbers: as the log names them.
        answers: numbers by which right answers are told apart; none where the log holds no texts.
    """

    numbers: tuple[int, ...] = ()
    answers: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, indices: Tensor) -> "Questions":
        """The questions at ``indices``, int64 [m]."""
        chosen = [int(i) for i in indices]
        answers = tuple(self.answers[i] for i in chosen) if self.answers else ()
        return Questions(tuple(self.numbers[i] for i in chosen), answers)

    @property
    def nbytes(self) -> int:
        """Of what is kept of them."""
        return 8 * (len(self.numbers) + len(self.answers))

    @property
    def content_hashes(self) -> list[str]:
        """By number and, where it is known, answer."""
        answers = self.answers or [None] * len(self)
        return [text_digest(json.dumps(part)) for part in zip(self.numbers, answers, strict=True)]

    @property
    def digest(self) -> str:
        """SHA-256 over numbers and answers."""
        return text_digest(json.dumps([self.numbers, self.answers]))


def questions_of(columns: Mapping[str, Tensor], part: str) -> Questions:
    """Those of one part of a log.

    Args:
        columns: of the log, by name.
        part: ``forget`` or ``retain``.
    """
    answers = columns.get(f"{part}/answer")
    return Questions(tuple(columns[f"{part}/question"].tolist()), () if answers is None else tuple(answers.tolist()))


@dataclass(frozen=True, kw_only=True)
class LoggedSets(Sets[Questions]):
    """What was asked. Nothing is trained, so that every forget question is one to measure on.

    Attributes:
        columns: what every log of the audit holds, under the names of :mod:`auditor.loading.evaluation_logs`.
    """

    request: str = "facts"
    classes: tuple[int, ...] = ()
    n_classes: int = 0
    forget_attack: Questions = Questions()
    columns: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over the questions, and what of them every log holds."""
        return text_digest(json.dumps([self.forget_eval.digest, self.retain.digest, self.columns]))
