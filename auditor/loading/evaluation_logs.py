"""Evaluation logs of language models: what TOFU and open-unlearning wrote of one model, question by question.

A log is a stranger's file like any other: JSON alone, limited in size, every number checked. Formats, read in the
public code of both and written here anew: TOFU (Maini et al. 2024) keeps ``eval_log_forget.json`` beside
``eval_log.json``, each with columns of questions; open-unlearning one ``TOFU_EVAL.json`` with a table for each metric.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self, TypeVar

import torch
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator
from pydantic_core import PydanticCustomError, from_json
from torch import Tensor

from auditor.digests import bytes_digest, parts_digest, text_digest
from auditor.errors import ModelError
from auditor.loading.tensors import plain, refused, shown
from auditor.records.validation import first_fault

TASK = "evaluation-logs"
FORGET, RETAIN, ONE_FILE = "eval_log_forget.json", "eval_log.json", "TOFU_EVAL.json"
MOST_BYTES = 32 * 2**20
MOST_QUESTIONS = 20_000
"""Of one file: logs of 400 questions have half a megabyte to some megabytes."""
_MODELS = ("config.json", "adapter_config.json")
# exp of more is no float64; a ratio as large counts as next to nothing known all the same.
_LARGEST_EXPONENT = 700.0
_EXPECTED = f"TOFU's {FORGET} beside {RETAIN}, or open-unlearning's {ONE_FILE}"

Key = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,14})$")]
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
# Of larger ones the sum is no number.
Positive = Annotated[FiniteFloat, Field(ge=0, le=1e300)]
Parsed = TypeVar("Parsed", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class LoggedQuestions:
    """What was logged of one set of questions, in the order of their numbers.

    Attributes:
        numbers: of the questions, as the log names them, ascending.
        answers: the right ones; None where the log holds none.
        probability: of the right answer, exp of its mean token log-probability, 0 to 1.
        rouge: ROUGE-L recall of what was said, 0 to 1; None where it was not logged.
        truth_ratio: R of Maini et al. 2024, the wrong answers' probability over that of the right one in other words,
            0 or more, lower is more knowledge; None where it was not logged.
    """

    numbers: tuple[int, ...]
    answers: tuple[str, ...] | None
    probability: tuple[float, ...]
    rouge: tuple[float, ...] | None
    truth_ratio: tuple[float, ...] | None

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Columns by name, each with a number for every question."""
        yield "question", torch.tensor(self.numbers, dtype=torch.int64)
        if self.answers is not None:
            # Numbers by which answers are told apart: half of a digest's digits, as many as an int64 holds.
            known = [int(text_digest(answer)[:15], 16) for answer in self.answers]
            yield "answer", torch.tensor(known, dtype=torch.int64)
        for name in ("probability", "rouge", "truth_ratio"):
            values = getattr(self, name)
            if values is not None:
                yield name, torch.tensor(values, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class EvaluationLog:
    """One model's log.

    Attributes:
        forget: questions about what is to be forgotten.
        retain: questions about what should stay.
        file_digest: SHA-256 of the file, or over those of both.
        in_one_file: whether one file holds both.
    """

    forget: LoggedQuestions
    retain: LoggedQuestions
    file_digest: str
    in_one_file: bool

    def tensors(self) -> dict[str, Tensor]:
        """Every column under ``forget/`` or ``retain/`` and its name."""
        parts = {"forget": self.forget, "retain": self.retain}
        return {f"{part}/{name}": column for part, asked in parts.items() for name, column in asked.tensors()}


def is_log(path: Path) -> bool:
    """Whether a path stands for an evaluation log: a JSON file, or a folder with a log and without a model."""
    if path.is_dir():
        # A checkpoint may keep its own log beside its weights; then the weights are what is meant.
        return any((path / name).is_file() for name in (FORGET, ONE_FILE)) and not any(
            (path / name).exists() for name in _MODELS
        )
    return path.suffix == ".json" and path.is_file()


def read_log(path: Path) -> EvaluationLog:
    """Read one model's log.

    Args:
        path: a folder that holds one, or its file.

    Raises:
        ModelError: a file or a field is missing, or a value is none.
        UnsafeInputError: a file is too large.
    """
    file = path
    if path.is_dir():
        file = path / (ONE_FILE if (path / ONE_FILE).is_file() else FORGET)
        if file.name == ONE_FILE and (path / FORGET).is_file():
            raise ModelError(f"{shown(path)} holds {ONE_FILE} and {FORGET}; name the file that is meant")
    if file.name in (FORGET, RETAIN):
        return _of_tofu(file.parent / FORGET, file.parent / RETAIN)
    data = _bytes(file)
    parsed = _parsed(_OpenUnlearning, data, file)
    return EvaluationLog(
        forget=parsed.questions("forget"),
        retain=parsed.questions("retain"),
        file_digest=bytes_digest(data),
        in_one_file=True,
    )


def _of_tofu(forget: Path, retain: Path) -> EvaluationLog:
    files = {path: _bytes(path) for path in (forget, retain)}
    asked = {path: _parsed(_Tofu, data, path).questions() for path, data in files.items()}
    return EvaluationLog(
        forget=asked[forget], retain=asked[retain], file_digest=parts_digest(files.values()), in_one_file=False
    )


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise ModelError(f"{shown(path)} does not exist or is not a file; an evaluation log is {_EXPECTED}")
    try:
        with path.open("rb") as file:
            # One more than is allowed: a file may grow after it was looked at.
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{shown(path)} cannot be read ({error.strerror}); check its permissions") from None
    if len(data) > MOST_BYTES:
        raise refused(path, f"an evaluation log has {MOST_BYTES // 2**20} MiB at most; give the log of one model")
    return data


def _parsed(kind: type[Parsed], data: bytes, path: Path) -> Parsed:
    try:
        found = from_json(data)
    except ValueError as error:
        raise ModelError(
            f"{shown(path)} is not valid JSON ({plain(error, 200)}); an evaluation log is {_EXPECTED}"
        ) from None
    # Before a fault of each of them is described.
    if _longest(found) > MOST_QUESTIONS:
        raise refused(path, f"an evaluation log has {MOST_QUESTIONS:,} questions at most; give the log of one split")
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        raise ModelError(
            f"{shown(path)} is no complete evaluation log: {plain(first_fault(error), 300)}; evaluate the model again, "
            f"and give {_EXPECTED} as it was written"
        ) from None


def _longest(found: object) -> int:
    """Most entries of any column, which lie one or two levels down."""
    within = list(found.values()) if isinstance(found, dict) else []
    within += [inner for outer in within if isinstance(outer, dict) for inner in outer.values()]
    return max((len(part) for part in within if isinstance(part, dict | list)), default=0)


class _Logged(BaseModel):
    """A part of a log; what is not named here is passed over."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class _Tofu(_Logged):
    """Columns of one set of questions, each by the number of the question."""

    avg_gt_loss: dict[Key, Positive] = Field(min_length=1)
    rougeL_recall: dict[Key, Share] | None = None
    avg_paraphrased_loss: dict[Key, Positive] | None = None
    average_perturb_loss: dict[Key, Annotated[list[Positive], Field(min_length=1)]] | None = None
    # What was asked, what was said, and the right answer.
    generated_text: dict[Key, Annotated[list[str], Field(min_length=3, max_length=3)]] | None = None

    @model_validator(mode="after")
    def _of_the_same_questions(self) -> Self:
        for name in ("rougeL_recall", "avg_paraphrased_loss", "average_perturb_loss", "generated_text"):
            _same_questions(self.avg_gt_loss, getattr(self, name), name, "avg_gt_loss")
        if (self.avg_paraphrased_loss is None) != (self.average_perturb_loss is None):
            raise PydanticCustomError("log", "of avg_paraphrased_loss and average_perturb_loss one is missing")
        return self

    def questions(self) -> LoggedQuestions:
        keys = _ordered(self.avg_gt_loss)
        right, wrong, texts = self.avg_paraphrased_loss, self.average_perturb_loss, self.generated_text
        return LoggedQuestions(
            numbers=tuple(map(int, keys)),
            answers=None if texts is None else tuple(texts[key][2].strip() for key in keys),
            probability=tuple(math.exp(-self.avg_gt_loss[key]) for key in keys),
            rouge=_column(self.rougeL_recall, keys),
            truth_ratio=None if right is None or wrong is None else tuple(_ratio(right[k], wrong[k]) for k in keys),
        )


def _ratio(right: float, wrong: list[float]) -> float:
    """R from mean token losses: the geometric mean of the wrong answers' probabilities over the right one's."""
    return math.exp(min(right - math.fsum(wrong) / len(wrong), _LARGEST_EXPONENT))


class _Probability(_Logged):
    prob: Share


class _Said(_Logged):
    rougeL_recall: Share
    ground_truth: str | None = None


class _Ratio(_Logged):
    score: Positive


class _Probabilities(_Logged):
    value_by_index: dict[Key, _Probability] = Field(min_length=1)


class _Sayings(_Logged):
    value_by_index: dict[Key, _Said]


class _Ratios(_Logged):
    value_by_index: dict[Key, _Ratio]


class _OpenUnlearning(_Logged):
    """A table for each metric, of which these are read. Older logs write ``Truth_Ratio``."""

    forget_Q_A_Prob: _Probabilities
    retain_Q_A_Prob: _Probabilities
    forget_Q_A_ROUGE: _Sayings | None = None
    retain_Q_A_ROUGE: _Sayings | None = None
    forget_truth_ratio: _Ratios | None = Field(
        default=None, validation_alias=AliasChoices("forget_truth_ratio", "forget_Truth_Ratio")
    )
    retain_truth_ratio: _Ratios | None = Field(
        default=None, validation_alias=AliasChoices("retain_truth_ratio", "retain_Truth_Ratio")
    )

    @model_validator(mode="after")
    def _of_the_same_questions(self) -> Self:
        for part in ("forget", "retain"):
            asked = getattr(self, f"{part}_Q_A_Prob").value_by_index
            for name in (f"{part}_Q_A_ROUGE", f"{part}_truth_ratio"):
                table = getattr(self, name)
                _same_questions(asked, None if table is None else table.value_by_index, name, f"{part}_Q_A_Prob")
        return self

    def questions(self, part: str) -> LoggedQuestions:
        asked: dict[str, _Probability] = getattr(self, f"{part}_Q_A_Prob").value_by_index
        said: _Sayings | None = getattr(self, f"{part}_Q_A_ROUGE")
        ratios: _Ratios | None = getattr(self, f"{part}_truth_ratio")
        keys = _ordered(asked)
        answers = [] if said is None else [said.value_by_index[key].ground_truth for key in keys]
        known = tuple(answer.strip() for answer in answers if answer is not None)
        return LoggedQuestions(
            numbers=tuple(map(int, keys)),
            answers=known if len(known) == len(keys) else None,
            probability=tuple(asked[key].prob for key in keys),
            rouge=None if said is None else tuple(said.value_by_index[key].rougeL_recall for key in keys),
            truth_ratio=None if ratios is None else tuple(ratios.value_by_index[key].score for key in keys),
        )


def _same_questions(asked: Mapping[str, object], other: Mapping[str, object] | None, name: str, first: str) -> None:
    if other is not None and asked.keys() != other.keys():
        same = "others than" if len(other) == len(asked) else f"and not the {len(asked)} of"
        raise PydanticCustomError("log", f"{name} holds {len(other)} questions, {same} {first}")


def _ordered(column: Mapping[str, object]) -> list[str]:
    # Keys are numbers as text, and "10" sorts before "2".
    return sorted(column, key=int)


def _column(values: Mapping[str, float] | None, keys: list[str]) -> tuple[float, ...] | None:
    return None if values is None else tuple(values[key] for key in keys)
