"""A corpus of hostile model files: nothing executes, and each is refused in one sentence."""

import contextlib
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from auditor.errors import UnsafeInputError
from auditor.loading import archive
from auditor.loading.checkpoints import load_weights
from auditor.loading.reading_process import ReadingProcess, Reply
from auditor.loading.tensors import read_safetensors
from tests import hostile_files

CORPUS = os.environ.get("AUDIT_MALWARE_CORPUS")


def read_all(paths: list[Path], target: Path) -> dict[Path, Reply]:
    """Every file by the road that an audit takes, but with one reading process, whatever it finds."""
    process = ReadingProcess()
    replies = {path: process.read(path, target, 60) for path in paths}
    process.close()
    return replies


@dataclass(frozen=True)
class Outcome:
    hostile: dict[str, Reply]
    benign: dict[str, Reply]
    left: set[str]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Both halves of the corpus, read; what stood in the folders afterwards."""
    folder = tmp_path_factory.mktemp("corpus")
    canary = folder / "canary"
    named = {f"hostile/{name}": data for name, data in hostile_files.hostile_files(canary).items()}
    named |= {f"benign/{name}": data for name, data in hostile_files.benign_files().items()}
    paths = {name: folder / f"{number}.pt" for number, name in enumerate(named)}
    for name, path in paths.items():
        path.write_bytes(named[name])
    (folder / "work").mkdir()
    replies = read_all(list(paths.values()), folder / "work" / "out")
    found = {name: replies[path] for name, path in paths.items()}
    left = {path.name for path in (*folder.iterdir(), *(folder / "work").iterdir())}
    return Outcome(
        hostile={name.split("/", 1)[1]: r for name, r in found.items() if name.startswith("hostile/")},
        benign={name.split("/", 1)[1]: r for name, r in found.items() if name.startswith("benign/")},
        left=left - {path.name for path in paths.values()} - {"work", "out"},
    )


def faults(replies: dict[str, Reply]) -> Iterator[str]:
    """Files that were not refused as they should be."""
    for name, reply in replies.items():
        sentence = reply.said.get("error")
        if not isinstance(sentence, str):
            yield f"{name}: {reply.last_words}, {reply.said}"
        elif not sentence.isprintable() or len(sentence) > 1000 or "Traceback" in sentence:
            yield f"{name}: {sentence!r}"


def test_every_hostile_file_is_refused_in_one_sentence_and_nothing_runs(outcome: Outcome) -> None:
    assert len(outcome.hostile) >= 140
    assert list(faults(outcome.hostile)) == []
    assert outcome.left == set(), "no canary, and nothing else that was not there"
    assert all(reply.said["limits"]["RLIMIT_NOFILE"] == 0 for reply in outcome.hostile.values())


def test_what_would_run_or_exhaust_is_refused_as_unsafe(outcome: Outcome) -> None:
    """Damage and mistakes end in another exit code than an attack."""
    unsafe = {name for name, reply in outcome.hostile.items() if reply.said.get("kind") == "unsafe"}
    live = {f"zip, {name}" for name in hostile_files.LIVE} | {"bare pickle, eval", "legacy, obj"}
    assert live <= unsafe
    assert {name for name in outcome.hostile if name.startswith(("key, ", "polyglot, pickle"))} <= unsafe
    assert {f"tensor, {kind}" for kind in ("stride 0", "meta", "quantised", "sparse", "nested")} <= unsafe
    assert {name for name in outcome.hostile if name.startswith("safetensors, a name")} <= unsafe
    assert not {name for name in outcome.hostile if ", cut at" in name and "legacy" not in name} & unsafe


def test_sound_files_pass(outcome: Outcome) -> None:
    assert len(outcome.benign) >= 8
    assert {name: reply for name, reply in outcome.benign.items() if "digest" not in reply.said} == {}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", hostile_files.LIVE)
def test_the_payloads_are_live(tmp_path: Path, name: str) -> None:
    """Without protection each of them creates the canary: that nothing did above means something."""
    canary = tmp_path / "canary"
    with contextlib.suppress(Exception):
        pickle.loads(hostile_files.opcodes(canary)[name])
    assert canary.exists()


def test_an_audit_says_what_its_reading_process_says(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    path.write_bytes(hostile_files.zipped(hostile_files.opcodes(tmp_path / "canary")["stack_global"]))
    with pytest.raises(UnsafeInputError) as caught:
        load_weights(path, tmp_path / "cache")
    assert str(caught.value) == read_all([path], tmp_path / "out")[path].said["error"]
    assert not (tmp_path / "canary").exists()


def test_no_pickle_is_opened_but_in_the_reading_process(tmp_path: Path) -> None:
    """What the audit's own process does with a file before it hands it over looks at its first bytes alone."""
    for data in hostile_files.hostile_files(tmp_path / "canary").values():
        path = tmp_path / "f"
        path.write_bytes(data)
        with path.open("rb") as file, contextlib.suppress(archive.ModelError, UnsafeInputError):
            if archive.identify(file, path) == "safetensors":
                read_safetensors(data, path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f"]


@pytest.mark.skipif(CORPUS is None, reason="AUDIT_MALWARE_CORPUS names no folder of samples")
def test_public_samples(tmp_path: Path) -> None:
    """Everything in the folder is refused and nothing executes; files below a folder `benign` may pass."""
    folder = Path(CORPUS or "").resolve()
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and str(path).isprintable()]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    replies = read_all(paths, tmp_path / "out")
    malicious = {str(path): reply for path, reply in replies.items() if "benign" not in path.parts}
    assert malicious
    assert list(faults(malicious)) == []
    assert {path.name for path in tmp_path.iterdir()} <= {"out"}
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
