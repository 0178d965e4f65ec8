"""Readers of files that a stranger may have made, and how to damage what they read.

Each target takes sound bytes that were mutated, by bytes or as JSON values, and either reads them or raises an
``AuditError``; anything else is a failure. ``tests/loading/test_fuzzing.py`` and ``benchmarks/fuzz.py`` run them.
"""

import copy
import io
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import safetensors.torch
import torch
from hypothesis import strategies as st

from auditor.cli.init import template
from auditor.digests import bytes_digest
from auditor.errors import AuditError
from auditor.loading import reader
from auditor.loading.adapters import check_adapter
from auditor.loading.answers import read_answers
from auditor.loading.evaluation_logs import read_log
from auditor.loading.image_processor import preprocessing_of
from auditor.loading.preprocessing import Preprocessing
from auditor.loading.tokenizers import load_tokenizer
from auditor.loading.transformers_directory import load_directory, quiet
from auditor.records.evidence import Evidence
from auditor.records.results import RecordedScores, Results, read_results
from auditor.records.spec import make_spec, read_spec
from auditor.reports.html import draw
from auditor.review.received import receive
from auditor.review.verification import verify
from auditor.run import audit_folder
from auditor.tasks.causal_lm.readers import read_facts
from auditor.tasks.classification.readers.files import read_examples
from auditor.zoo.text.people_model import people_model, word_tokenizer
from tests import report_samples as samples
from tests.asked_worlds import ASKED, Asked
from tests.logged_worlds import Logged, open_unlearning

# Pieces on which parsers have stumbled: depth, size, encodings, markup, numbers that are none.
TOKENS = (
    *(b"[" * 3000, b'{"a":' * 3000, b"(" * 3000, b"9" * 5000, b"1e999", b"-0", b"NaN", b"Infinity", b"nan", b"null"),
    *(b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b"\\u202e", b"\xe2\x80\xae", b"<script>", b'"""', b"'", b"\n"),
    *(b"../" * 9, b"$(touch x)", b"2026-13-45", b"true", b"PK\x03\x04", b"\x80\x02.", b"\x93NUMPY", b"A" * 70_000),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**70), 10**400, 0.5, -0.0, 1e308, 5e-324),
    *(float("nan"), float("inf"), "", "0", "<script>alert(1)</script>", "a\nb\x1b[2J\u202e\x00", "../" * 9, "x" * 5000),
    *([], {}, [[]], {"": None}, ["x"] * 200, [1e308] * 50, {"a": {"b": {"c": []}}}),
)
# Each case draws a report or builds a model.
SLOW = ("results.json", "received audit", "config.json")
_LOGGED = Logged(knows=0.5, n=3)
_Edit = tuple[float, int, int]


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        cases: of mutated files.
        read: reads a case; raises AuditError where it refuses.
    """

    cases: st.SearchStrategy[bytes]
    read: Callable[[bytes], object]


def _edit(data: bytes, edits: Sequence[_Edit]) -> bytes:
    """Bytes changed, cut out, repeated, or replaced by a token, at relative places."""
    found = bytearray(data)
    for where, kind, value in edits:
        at = int(where * len(found))
        if kind == 0:
            found[at : at + 1] = bytes([value % 256])
        elif kind == 1:
            del found[at : at + value % 64]
        elif kind == 2:
            found[at:at] = found[at : at + value % 64]
        elif kind == 3:
            del found[at:]
        else:
            found[at : at + value % 3] = TOKENS[value % len(TOKENS)]
    return bytes(found)


def mutated(*sound: bytes) -> st.SearchStrategy[bytes]:
    """One of some files with up to six edits."""
    edit = st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from((0, 0, 1, 2, 3, 4, 4)), st.integers(0, 10**4))
    return st.builds(_edit, st.sampled_from(sound), st.lists(edit, min_size=1, max_size=6))


def _replace(text: str, edits: Sequence[tuple[float, int]]) -> bytes:
    """JSON with values somewhere in it replaced or fields added."""
    root = [json.loads(text)]
    for where, value in edits:
        places: list[tuple[Any, Any]] = []
        _places(root, places)
        holder, key = places[int(where * len(places))]
        holder[key] = copy.deepcopy(VALUES[value % len(VALUES)])
        if isinstance(holder, dict) and value % 7 == 0:
            holder[f"added {value}"] = copy.deepcopy(VALUES[-value % len(VALUES)])
    # Python writes NaN and Infinity, and lone surrogates stay escaped.
    return json.dumps(root[0]).encode()


def _places(value: Any, found: list[tuple[Any, Any]]) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        found.append((value, key))
        _places(part, found)


def replaced(text: str) -> st.SearchStrategy[bytes]:
    """A JSON file with up to four values replaced."""
    edit = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 10**4))
    return st.builds(_replace, st.just(text), st.lists(edit, min_size=1, max_size=4))


# --- what is read ----------------------------------------------------------------------------------------------


def in_a_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of bytes from a reader of paths."""

    def reading(data: bytes) -> object:
        with TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(data)
            return read(path)

    return reading


def _in_a_copy(made: dict[str, bytes], name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of folders, one file of which is the case."""

    def reading(data: bytes) -> object:
        with TemporaryDirectory() as folder:
            for other, sound in made.items():
                (Path(folder) / other).write_bytes(sound)
            (Path(folder) / name).write_bytes(data)
            return read(Path(folder))

    return reading


@cache
def small_results() -> tuple[Results, RecordedScores]:
    """Results with a little of everything, quick to draw."""
    base = samples.sample("DELETED")
    known = samples.knowledge("DELETED")
    cells: list[Any] = [
        {"model": m, "layer": "fc", "probe": "centre", "shots": n, "value": 0.5} for m in ("original", "unlearned")
        for n in (1, 2)
    ]  # fmt: skip
    found: list[Evidence] = [samples.few_shot(known, rows=cells), samples.failed_check()]
    plan = samples.plan("DELETED", tuple(e.check for e in found))
    return samples.assemble(plan, found, base.verdict), RecordedScores(scores={})


def _read_tables(data: bytes) -> object:
    """The values of an audit.toml, whose outermost value is always a table."""
    tables = json.loads(data)
    return make_spec(tables, {}) if isinstance(tables, dict) else None


def read_and_draw(path: Path) -> object:
    """``audit render``."""
    return draw(read_results(path))


def check_received(folder: Path) -> object:
    """``audit verify``, with the list of digests made again, as a forger would."""
    held = {name: (folder / name).read_bytes() for name in audit_folder.FILES}
    listed = "".join(f"{bytes_digest(data)}  {name}\n" for name, data in held.items())
    (folder / audit_folder.SUMS).write_text(listed)
    return list(verify(receive(folder)))


def targets() -> dict[str, Target]:
    """Every target by name."""
    results, scores = small_results()
    sent = {
        audit_folder.PLAN: results.plan.to_json().encode(),
        audit_folder.RESULTS: results.to_json().encode(),
        audit_folder.SCORES: scores.to_json().encode(),
        audit_folder.REPORT: b"",
    }
    return {
        "audit.toml": Target(
            mutated(_toml().encode()), in_a_file("audit.toml", lambda path: make_spec(read_spec(path), {}))
        ),
        "audit.toml, values": Target(
            replaced(json.dumps(_tables())), _read_tables
        ),
        "results.json": Target(
            replaced(results.to_json()) | mutated(results.to_json().encode()),
            in_a_file("results.json", read_and_draw),
        ),
        "received audit": Target(
            replaced(results.to_json()) | mutated(results.to_json().encode()),
            _in_a_copy(sent, audit_folder.RESULTS, check_received),
        ),
        "facts": Target(
            mutated(*_facts()) | replaced(_facts()[0].decode().split("\n")[0]),
            in_a_file("facts.jsonl", lambda path: read_facts(path.name, path.parent)),
        ),
        "answers": Target(mutated(_answers()), in_a_file("said.jsonl", lambda path: read_answers(path).tensors())),
        "evaluation log": Target(
            replaced(json.dumps(open_unlearning(_LOGGED))) | mutated(json.dumps(open_unlearning(_LOGGED)).encode()),
            in_a_file("TOFU_EVAL.json", lambda path: read_log(path).tensors()),
        ),
        "npz": Target(
            mutated(*_archives()),
            in_a_file("a.npz", lambda path: read_examples(path.name, path.parent, Preprocessing())),
        ),
        "checkpoint": Target(mutated(*_checkpoints()), lambda data: reader.read_checkpoint(io.BytesIO(data), "f.pt")),
        "config.json": Target(
            st.deferred(lambda: replaced(_model()["config.json"].decode())),
            lambda data: _in_a_copy(_model(), "config.json", load_directory)(data),
        ),
        "tokenizer.json": Target(
            st.deferred(lambda: replaced(_tokenizer().decode()) | mutated(_tokenizer())),
            in_a_file("tokenizer.json", lambda path: load_tokenizer(path.parent)),
        ),
        "adapter_config.json": Target(
            replaced(json.dumps({"peft_type": "LORA", "r": 4, "target_modules": ["q"], "bias": "none"})),
            _in_a_copy({"adapter_model.safetensors": _checkpoints()[2]}, "adapter_config.json", check_adapter),
        ),
        "preprocessor_config.json": Target(
            replaced(json.dumps({"size": {"height": 4, "width": 4}, "image_mean": [0.5], "image_std": [0.5],
                                 "do_rescale": True, "rescale_factor": 1 / 255})),
            in_a_file("preprocessor_config.json", lambda path: preprocessing_of(path.parent)),
        ),
    }  # fmt: skip


def _toml() -> str:
    """The template with every field in use."""
    return "\n".join(line.removeprefix("# ") for line in template().splitlines() if " = " in line or "[" in line)


def _tables() -> dict[str, Any]:
    return {
        "models": {"original": "a", "unlearned": "b", "references": ["c"]},
        "data": {"forget": "f", "resize": [2, 2], "mean": [0.5], "class_names": ["cat"]},
        "request": {"kind": "class", "classes": [3]},
        "audit": {"seed": 0, "threads": 1, "checks": ["depth"]},
        "recipe": {"epochs": 1, "learning_rate": 0.1},
        "responsible": {"person": "A", "date": "2026-01-31"},
    }


def _facts() -> tuple[bytes, bytes]:
    one = {"prompt": "Who?", "answer": "Ana", "subject": "Ana", "choices": ["Ana", "Ben"], "paraphrases": ["Who is?"]}
    return "\n".join(json.dumps(one) for _ in range(3)).encode(), b'{"text": "Ana lives in Oslo."}\n' * 3


def _answers() -> bytes:
    with TemporaryDirectory() as folder:
        return Asked(knows=1.0).write(Path(folder) / "said.jsonl", samples=1, asked=ASKED[:4] + ASKED[-4:]).read_bytes()


def _archives() -> tuple[bytes, bytes]:
    arrays = {"images": np.zeros((4, 3, 3, 1), np.uint8), "labels": np.arange(4)}
    stored, compressed = io.BytesIO(), io.BytesIO()
    np.savez(stored, **arrays)
    np.savez_compressed(compressed, **arrays)
    return stored.getvalue(), compressed.getvalue()


def _checkpoints() -> tuple[bytes, bytes, bytes]:
    weights = {"w": torch.arange(8.0), "b": torch.ones(3)}
    found = []
    for zipped in (True, False):
        out = io.BytesIO()
        torch.save({"state_dict": weights, "epoch": 1}, out, _use_new_zipfile_serialization=zipped)
        found.append(out.getvalue())
    return found[0], found[1], safetensors.torch.save(weights)


def _tokenizer() -> bytes:
    return _model()["tokenizer.json"]


# When its first case is read, and not when tests are collected: all of transformers is imported for it.
@cache
def _model() -> dict[str, bytes]:
    """A language model's folder in memory."""
    with TemporaryDirectory() as folder, warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        people_model(40, layers=1, width=16)().save_pretrained(folder)
        word_tokenizer(("Ana", "Oslo")).save_pretrained(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def fault_of(target: Target, case: bytes) -> str | None:
    """What is wrong with how a case was answered; None where it was read or refused in a sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.read(case)
    except AuditError as error:
        sentence = str(error)
        return None if error.exit_code in (2, 4) and sentence.strip() else f"exit code {error.exit_code}: {sentence}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return f"{type(error).__module__}.{type(error).__name__}: {error}"
    return None
