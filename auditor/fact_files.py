"""Facts from JSON lines: ``{"prompt", "answer"}`` or ``{"text"}``, one object a line."""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from auditor.errors import DataError
from auditor.facts import Fact, Facts
from auditor.loading.tensors import plain, shown

_MAX_BYTES = 512 * 2**20
_ALIASES = {"question": "prompt", "perturbed_answer": "perturbed_answers", "paraphrased_question": "paraphrases"}
_LISTS = ("choices", "paraphrases", "perturbed_answers")
_KNOWN = ("prompt", "answer", "subject", *_LISTS)


def read_facts(source: str, base: Path) -> Facts:
    """Read a file of facts.

    Args:
        source: path of a JSON-lines file. TOFU's ``question`` stands for ``prompt``; other keys are left alone.
        base: folder that relative paths start from.

    Raises:
        DataError: missing, not UTF-8 JSON lines, or a line that is no fact.
    """
    path = base / source
    if not path.is_file():
        raise DataError(f"{shown(source)} does not exist in {shown(base)}; correct the path")
    if path.stat().st_size > _MAX_BYTES:
        raise DataError(f"{shown(source)} has more than {_MAX_BYTES} bytes; give a smaller sample of it")
    try:
        # Not splitlines, which also cuts at separators that JSON leaves inside a string.
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        raise DataError(f"{shown(source)} is not UTF-8 text; save it as JSON lines in UTF-8") from None
    items = tuple(_fact(line, number, source) for number, line in enumerate(lines, start=1) if line.strip())
    if not items:
        raise DataError(f"{shown(source)} holds no fact; it should hold one JSON object a line")
    return Facts(items)


def write_facts(facts: Facts, path: Path) -> None:
    """Write a set as JSON lines, fields that are empty left out."""
    lines = [json.dumps(f.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False) for f in facts.items]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _fact(line: str, number: int, source: str) -> Fact:
    where = f"{shown(source)}, line {number}"
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON ({plain(error, 100)}); write one object a line") from None
    if not isinstance(fields, dict):
        raise DataError(f'{where} is no JSON object; write {{"prompt": …, "answer": …}} or {{"text": …}}')
    return fact_of(fields, where)


def fact_of(fields: Mapping[str, object], where: str) -> Fact:
    """A fact from a mapping with the keys of a file.

    Raises:
        DataError: a key is missing, empty or of another type.
    """
    named = {_ALIASES.get(key, key): value for key, value in fields.items()}
    if "answer" not in named and "text" in named:
        named = {"prompt": "", "answer": named["text"], "subject": named.get("subject", "")}
    if "prompt" not in named or "answer" not in named:
        raise DataError(f'{where} should have "prompt" and "answer", or "text"; it has {plain(sorted(named), 100)}')
    kept = {key: _as_list(value) if key in _LISTS else value for key, value in named.items() if key in _KNOWN}
    try:
        fact = Fact.model_validate(kept)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{where}: {plain(first['loc'][0])} does not fit: {plain(first['msg'])}") from None
    if not fact.answer.strip():
        raise DataError(f"{where}: the answer is empty, so there is nothing to forget; fill it in or drop the line")
    return fact


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value
