"""Files of answers: what a model that can only be asked said to each question, in each form, and when asked again.

`audit ask` writes them, one JSON line for each question. Such a file is a stranger's like any other: JSON alone,
limited in size, every field checked. What was said is held against the right answer here, word by word.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from auditor.digests import bytes_digest, text_digest
from auditor.errors import ModelError
from auditor.loading.tensors import plain, refused, shown
from auditor.records.base import Frozen
from auditor.records.validation import first_fault
from auditor.rouge import rouge_l_recall

TASK = "answers"
SUFFIX = ".jsonl"
PLAIN = "question"
"""The form in which a question is asked as it stands."""
MOST_BYTES = 64 * 2**20
MOST_QUESTIONS = 20_000
_FIRST = "the first line of a file of answers says of what format it is; make it with `audit ask`"
Part = Literal["forget", "retain"]
PARTS: tuple[Part, ...] = ("forget", "retain")
# As many hexadecimal digits as an int64 holds: prompts and answers are told apart by them.
_DIGITS = 15
Text = Annotated[str, Field(max_length=20_000)]
# Comparing takes as long as both texts times each other: what shows the knowledge is short.
Right = Annotated[str, Field(min_length=1, max_length=2_000)]
Said = Annotated[str, Field(max_length=4_000)]


class Asked(Frozen):
    """The first line: how a model was asked."""

    # Files that people make are read as they are: a number is no text.
    model_config = ConfigDict(strict=True)

    format: Literal["unlearning-auditor answers 1"]
    prompts: str = Field(description="digest of all prompts in their order", max_length=100)
    samples: int = Field(ge=0, le=256, description="further answers to each forget question, at temperature 1")
    seed: int = Field(ge=0)


class Answer(Frozen):
    """Any other line: one question in one form, and what was said."""

    model_config = ConfigDict(strict=True)

    part: Part
    question: int = Field(ge=0, lt=MOST_QUESTIONS, description="its place in the file of facts, from 0")
    form: str = Field(min_length=1, max_length=100)
    prompt: Text
    right: Right = Field(description="what shows the knowledge")
    said: Said = Field(description="the answer, as probable as the program gives them")
    # A list in JSON.
    again: tuple[Said, ...] = Field(default=(), max_length=256, strict=False, description="sampled answers")


_LINE = TypeAdapter(Answer)


@dataclass(frozen=True)
class Answers:
    """One model's answers.

    Attributes:
        asked: how it was asked.
        lines: what it said, in the order of the file.
        file_digest: SHA-256 of the file.
    """

    asked: Asked
    lines: tuple[Answer, ...]
    file_digest: str

    def tensors(self) -> dict[str, Tensor]:
        """Columns by name, each with a number for every question of a set, in their order.

        ``forget/question`` and ``forget/answer`` (numbers by which right answers are told apart), int64 [n];
        ``forget/words`` (the same for everything that was said to a question), int64 [n];
        ``forget/asked FORM`` (the same for prompts with their right answers), int64 [n]; ``forget/said FORM``, recall
        of the right answer's words, float64 [n]; ``forget/again``, of each sampled answer, float64 [n, samples]; and
        the same of retain.
        """
        return dict(column for part in PARTS for column in _columns(part, [x for x in self.lines if x.part == part]))


def _columns(part: Part, lines: Sequence[Answer]) -> Iterator[tuple[str, Tensor]]:
    by_form: dict[str, list[Answer]] = {}
    for line in sorted(lines, key=lambda line: line.question):
        by_form.setdefault(line.form, []).append(line)
    plainly = by_form[PLAIN]
    yield f"{part}/question", torch.tensor([line.question for line in plainly], dtype=torch.int64)
    yield f"{part}/answer", _numbers([line.right for line in plainly])
    # Two models that say other things may be right about the same words, and are two models.
    yield f"{part}/words", _numbers([json.dumps([line.said, line.again]) for line in plainly])
    for form, asked in by_form.items():
        yield f"{part}/asked {form}", _numbers([json.dumps([line.prompt, line.right]) for line in asked])
        yield f"{part}/said {form}", _recalls([(line.right, line.said) for line in asked])
    if plainly[0].again:
        flat = _recalls([(line.right, said) for line in plainly for said in line.again])
        yield f"{part}/again", flat.reshape(len(plainly), -1)


def _numbers(texts: Sequence[str]) -> Tensor:
    return torch.tensor([int(text_digest(text)[:_DIGITS], 16) for text in texts], dtype=torch.int64)


def _recalls(pairs: Sequence[tuple[str, str]]) -> Tensor:
    # The same answer is given again and again, and a comparison takes longer than a look.
    known = {pair: rouge_l_recall(*pair) for pair in set(pairs)}
    return torch.tensor([known[pair] for pair in pairs], dtype=torch.float64)


def is_answers(path: Path) -> bool:
    """Whether a path stands for a file of answers: no other model is JSON lines."""
    return path.suffix == SUFFIX and path.is_file()


def read_answers(path: Path) -> Answers:
    """Read one model's answers, all of them.

    Raises:
        ModelError: a line is none, a question is missing in a form, or was not asked as often as the others.
        UnsafeInputError: the file is too large.
    """
    data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else None
    if data is None:
        raise refused(path, f"a file of answers has {MOST_BYTES // 2**20} MiB at most; ask fewer questions")
    asked, lines = parsed(data, path)
    for part in PARTS:
        _check_whole(part, [line for line in lines if line.part == part], asked, path)
    return Answers(asked, tuple(lines), bytes_digest(data))


def parsed(data: bytes, path: Path) -> tuple[Asked, list[Answer]]:
    """First line and others; whole questions may be missing, as where a program was interrupted.

    Raises:
        ModelError: a line is none.
    """
    head, *rest = data.splitlines() or [b""]
    try:
        asked = Asked.model_validate_json(head)
    except ValidationError:
        raise ModelError(f"{shown(path)} is no file of answers: {_FIRST}") from None
    lines = []
    for number, line in enumerate(rest, start=2):
        try:
            lines.append(_LINE.validate_json(line))
        except ValidationError as error:
            fault = plain(first_fault(error), 300)
            raise ModelError(f"{shown(path)}, line {number}: {fault}; ask again with `audit ask`") from None
    return asked, lines


def _check_whole(part: Part, lines: Sequence[Answer], asked: Asked, path: Path) -> None:
    questions = {(line.form, line.question) for line in lines}
    plainly = {question for form, question in questions if form == PLAIN}
    if not plainly:
        raise ModelError(f"{shown(path)} holds no {part} question; ask with --forget and --retain")
    forms = {form for form, _ in questions}
    if len(lines) != len(forms) * len(plainly) or len(questions) != len(lines):
        raise ModelError(
            f"{shown(path)} does not hold every {part} question once in every form; run `audit ask` again, which goes "
            "on where it stopped"
        )
    wanted = asked.samples if part == "forget" else 0
    short = next((x for x in lines if len(x.again) != (wanted if x.form == PLAIN else 0)), None)
    if short is not None:
        raise ModelError(
            f"{shown(path)}: {part} question {short.question} has {len(short.again)} further answers in the form "
            f"{plain(short.form, 100)!r}, where its first line says {wanted}; ask again with `audit ask`"
        )
    blank = next((x for x in lines if not x.right.split()), None)
    if blank is not None:
        raise ModelError(f"{shown(path)}: the right answer to {part} question {blank.question} has no word")
