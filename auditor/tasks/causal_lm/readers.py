"""Facts from files: rows with ``prompt`` and ``answer``, or with ``text``; JSON lines, or what an entry point reads."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from auditor import plugins
from auditor.errors import DataError, SpecError, near_paths
from auditor.loading.tables import check_columns, named_columns
from auditor.loading.tensors import plain, shown
from auditor.sources import split_source
from auditor.tasks.causal_lm.sets import Fact, Facts

READERS = "unlearning_auditor.fact_readers"
"""Entry-point group of what reads files of facts, named after the suffix."""
Reader = Callable[[Path, str], Iterable[tuple[int, Mapping[str, object]]]]
"""From a path, and its name for messages, to rows with the number by which a person finds them."""
# The file is read whole: one without end must not take the memory of the audit.
MAX_BYTES = 512 * 2**20
# TOFU's names, RWKU's and MUSE's.
_ALIASES = {
    "question": "prompt",
    "query": "prompt",
    "gt": "answer",
    "perturbed_answer": "perturbed_answers",
    "paraphrased_question": "paraphrases",
}
_LISTS = ("choices", "paraphrases", "perturbed_answers", "subject_aliases")
_RECORDS = "multi_hop"
LISTS = frozenset({*_LISTS, _RECORDS, *(key for key, name in _ALIASES.items() if name in _LISTS)})
"""Keys under which a row may have several texts, or records."""
_JSON = (".jsonl", ".json", ".ndjson", ".txt", "")
_NAMEABLE = ("prompt", "answer", "subject")
_KNOWN = ("prompt", "answer", "subject", "restored", *_LISTS, _RECORDS)


def read_facts(source: str, base: Path) -> Facts:
    """Read a file of facts.

    Args:
        source: path of a JSON-lines file, or of a file of another suffix that has a reader, such as CSV. TOFU's
            ``question`` stands for ``prompt``; other keys are left alone. Behind the path may stand in brackets what
            the file calls prompt, answer and subject, in this order, or text alone: ``facts.csv[q,a]``.
        base: folder that relative paths start from.

    Raises:
        DataError: missing, not UTF-8 JSON lines, or a line that is no fact.
        SpecError: the package that reads the suffix cannot be loaded.
    """
    location, columns = _located(source, base)
    path = base / location
    if not path.is_file():
        raise DataError(f"{shown(location)} does not exist in {shown(base)}{near_paths(location, base)}")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{shown(location)} has more than {MAX_BYTES} bytes; give a smaller sample of it")
    rows = _reader_of(path)(path, location)
    items = tuple(_fact(fields, columns, f"{shown(location)}, line {number}") for number, fields in rows)
    if not items:
        raise DataError(f"{shown(location)} holds no fact; it should hold one a line")
    return Facts(items)


def names_facts(source: str, base: Path) -> bool:
    """Whether the first row of a table that may as well hold images is a fact."""
    location, columns = _located(source, base)
    path = base / location
    if not path.is_file() or path.suffix.removeprefix(".").lower() not in _registered():
        return False
    try:
        fact = next((_fact(fields, columns, location) for _, fields in _reader_of(path)(path, location)), None)
    except DataError:
        return False
    # A single column of whole numbers is one of labels.
    return fact is not None and (bool(fact.prompt) or not fact.answer.isdigit())


def _located(source: str, base: Path) -> tuple[str, tuple[str, ...]]:
    location, part = split_source(source, base)
    # What is no list of columns belongs to the name of the file.
    return (location, named_columns(part)) if part.startswith("[") else (source, ())


def _registered() -> set[str]:
    return {entry.name for entry in plugins.registered(READERS)}


def _fact(fields: Mapping[str, object], columns: Sequence[str], where: str) -> Fact:
    """A fact from a row, of which only the columns named are looked at where any are."""
    if not columns:
        return fact_of(fields, where)
    wanted = ("text",) if len(columns) == 1 else _NAMEABLE
    if len(columns) > len(wanted):
        raise SpecError(
            f"[{','.join(columns)}] names {len(columns)} columns; name those of {', '.join(wanted)} at most"
        )
    check_columns(columns, list(fields), where)
    return fact_of({name: fields[column] for name, column in zip(wanted, columns, strict=False)}, where)


def write_facts(facts: Facts, path: Path) -> None:
    """Write a set as JSON lines, fields that are empty left out."""
    lines = [json.dumps(f.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False) for f in facts.items]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_json_lines(path: Path, source: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """The objects of a file, each with the number of its line.

    Raises:
        DataError: not UTF-8 JSON lines.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(
            f"{shown(source)} is not UTF-8 text; save it as JSON lines in UTF-8{_or_install(path)}"
        ) from None
    # A whole file of JSON, as some benchmarks are published: its facts are numbered as if each had a line.
    if text.lstrip().startswith("["):
        yield from enumerate(_list(text, shown(source)), start=1)
        return
    # Not splitlines, which also cuts at separators that JSON leaves inside a string.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, _object(line, f"{shown(source)}, line {number}", _or_install(path))


def _or_install(path: Path) -> str:
    """The other way out for a file that may not be meant as JSON lines."""
    return "" if path.suffix.lower() in _JSON else f", or install a package that reads {shown(path.suffix)} files"


def _reader_of(path: Path) -> Reader:
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in _registered():
        # Under whatever name, lines of JSON are what a set of facts has always been.
        return read_json_lines
    entry = plugins.named(READERS, suffix, "reader")
    found = plugins.loaded(entry, "reader")
    if not callable(found):
        raise SpecError(f"the reader of .{suffix} files is no function; fix or uninstall its package")

    def rows(path: Path, name: str) -> Iterator[tuple[int, Mapping[str, object]]]:
        with plugins.faults_of(entry, "reader", path):
            yield from cast(Reader, found)(path, name)

    return rows


def _list(text: str, where: str) -> list[Mapping[str, object]]:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON ({plain(error, 100)}); write one object a line") from None
    odd = next((n for n, item in enumerate(items, start=1) if not isinstance(item, dict)), 0)
    if odd:
        raise DataError(f'{where}, item {odd} is no JSON object; write {{"prompt": …, "answer": …}} or {{"text": …}}')
    return cast(list[Mapping[str, object]], items)


def _object(line: str, where: str, otherwise: str) -> Mapping[str, object]:
    try:
        fields = json.loads(line)
    # Beside bad JSON: numbers of too many digits, and brackets nested deeper than Python goes.
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where} is not valid JSON ({plain(error, 100)}); write one object a line{otherwise}"
        ) from None
    if not isinstance(fields, dict):
        raise DataError(f'{where} is no JSON object; write {{"prompt": …, "answer": …}} or {{"text": …}}')
    return fields


def fact_of(fields: Mapping[str, object], where: str) -> Fact:
    """A fact from a mapping with the keys of a file.

    Raises:
        DataError: a key is missing, empty or of another type.
    """
    named = {_ALIASES.get(key, key): value for key, value in fields.items()}
    if "answer" not in named and "text" in named:
        named = {"prompt": "", "answer": named["text"], "subject": named.get("subject", "")}
    if "prompt" not in named or "answer" not in named:
        raise DataError(
            f'{where} should have "prompt" and "answer", or "text"; it has {plain(sorted(fields), 100)}: rename '
            "them, or name them in brackets behind the file, as in facts.csv[question,answer]"
        )
    named["answer"] = _chosen(named["answer"], named.get("choices"))
    # Published sets carry fields of their own, which are no mistake.
    kept = {key: _as_list(value) if key in _LISTS else value for key, value in named.items() if key in _KNOWN}
    try:
        fact = Fact.model_validate(kept)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{where}: {plain(first['loc'][0])} does not fit: {plain(first['msg'])}") from None
    if not fact.answer.strip():
        raise DataError(f"{where}: the answer is empty, so there is nothing to forget; fill it in or drop the line")
    return fact


def _chosen(answer: object, choices: object) -> object:
    """The answer in words where a set of multiple choice, as WMDP and MMLU, gives its place among the choices."""
    # True is an int to Python, and no place.
    if type(answer) is int and isinstance(choices, list) and 0 <= answer < len(choices):
        return choices[answer]
    return answer


def _as_list(value: object) -> object:
    # TOFU gives its single paraphrase as a string.
    return [value] if isinstance(value, str) else value
