"""The process that reads a checkpoint: its limits, its environment, and whatever becomes of it."""

import collections
import contextlib
import json
import multiprocessing
import os
import pickle
import resource
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from auditor.errors import AuditError, ModelError, UnsafeInputError
from auditor.loading import checkpoints, child, reading_process
from auditor.loading.checkpoints import load_weights
from tests.checkpoint_files import same, saved


def with_claimed_storage(path: Path, elements: int) -> Path:
    """A pre-2020 file of some hundred bytes whose only storage claims that many floats."""

    class Claim:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (
                Storage(),
                0,
                (4,),
                (1,),
                False,
                collections.OrderedDict(),
            )

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", torch.FloatStorage, "0", "cpu", elements, None) if isinstance(value, Storage) else None

    with path.open("wb") as file:
        pickle.dump(0x1950A86A20F9469CFC6C, file, protocol=2)
        pickle.dump(1001, file, protocol=2)
        pickle.dump({"little_endian": True}, file, protocol=2)
        Pickler(file, protocol=2).dump({"w": Claim()})
        pickle.dump(["0"], file, protocol=2)
        file.write(struct.pack("<q", elements) + bytes(16))
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_a_file_that_needs_more_memory_than_allowed_is_refused_in_words(tmp_path):
    # 2 GiB would be granted by any machine that runs these tests, so the refusal comes from the limit.
    path = with_claimed_storage(tmp_path / "claims.pt", 2**29)
    with pytest.raises(UnsafeInputError, match="needs more memory than a file of its size can justify"):
        load_weights(path, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_limits_are_in_force_in_the_child():
    script = (
        "import json, resource, socket; from auditor.loading import limits; said = limits.limit_this_process(10**6);"
        "held = {n: resource.getrlimit(getattr(resource, n)) for n in said}\n"
        "def opened(how, *what):\n"
        "    try: how(*what)\n"
        "    except OSError as error: return error.strerror\n"
        "print(json.dumps([said, held, opened(open, '/etc/hosts'), opened(socket.socket)]))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    said, held, *opened = json.loads(done.stdout)
    assert opened == ["Too many open files"] * 2, "no file and no connection"
    assert held == {name: [value, value] for name, value in said.items()}
    assert said["RLIMIT_FSIZE"] == 2 * 10**6 + 8 * 2**20
    assert said["RLIMIT_CPU"] == 60
    assert {said[f"RLIMIT_{name}"] for name in ("NOFILE", "NPROC", "CORE")} == {0}
    if sys.platform == "linux":
        assert said["RLIMIT_AS"] < 2**36
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64, "the parent keeps its own limits"


# What stands in the reading process in place of the reader's own way of reading a file.
BODIES = {
    "killed": ("os.kill(os.getpid(), signal.SIGXCPU)", UnsafeInputError, "signal SIGXCPU"),
    "crashed": ("raise KeyError('deep inside')", UnsafeInputError, "KeyError: 'deep inside'"),
    "hangs": ("time.sleep(60)", UnsafeInputError, "took more than"),
    "speaks to the terminal": (
        r"return {'error': '\x1b[2J\u202e', 'kind': 'unsafe'}",
        UnsafeInputError,
        r"^\\x1b\[2J\\u202e$",
    ),
    "answers with nothing": ("os._exit(0)", UnsafeInputError, "exit status 0"),
    "takes its parent along": ("os.kill(os.getppid(), signal.SIGKILL)", AuditError, "model.pt: signal SIGKILL"),
}
READING = """
import os, signal, sys, time
from multiprocessing.connection import Connection
from auditor.loading import reader
def read_file(name, source, target):
    open(os.path.dirname(source) + "/began", "w").write(str(os.getpid()))
    {body}
reader.read_file = read_file
reader.serve(Connection(int(sys.argv[1])))
"""


@pytest.fixture
def none_kept() -> Iterator[None]:
    """No reading process from before the test, and none of the test's after it."""
    reading_process.end()
    yield
    reading_process.end()


def number_of_the_kept() -> int | None:
    kept = reading_process._kept
    return kept and kept._process.pid


def ends(number: int) -> bool:
    """Whether a process is gone within ten seconds; one that only waits to be noticed is."""
    deadline = time.monotonic() + 10
    while psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def in_place_of_the_reader(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(child, "_command", lambda module, *rest: [sys.executable, "-P", "-c", script, *rest])


@pytest.mark.usefixtures("none_kept")
@pytest.mark.parametrize("name", BODIES)
def test_whatever_becomes_of_the_child_is_told_in_a_sentence(tmp_path, monkeypatch, name):
    body, kind, message = BODIES[name]
    in_place_of_the_reader(monkeypatch, READING.format(body=body))
    if name == "hangs":
        monkeypatch.setattr(checkpoints, "START_SECONDS", 15 - 120)
    with pytest.raises(kind, match=message) as caught:
        load_weights(saved(tmp_path, {"w": torch.ones(1)}), tmp_path / "cache")
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert ends(int((tmp_path / "began").read_text())), "no fork outlives its file"
    assert number_of_the_kept() is None


@pytest.mark.usefixtures("none_kept")
def test_a_reading_process_that_never_starts_is_told_in_a_sentence(tmp_path, monkeypatch):
    in_place_of_the_reader(monkeypatch, "import no_such_module")
    with pytest.raises(AuditError, match=r"ended before it had read .*model.pt: ModuleNotFoundError") as caught:
        load_weights(saved(tmp_path, {"w": torch.ones(1)}), tmp_path / "cache")
    assert type(caught.value) is AuditError


@pytest.mark.usefixtures("none_kept")
def test_one_process_reads_file_after_file_until_one_is_refused(tmp_path):
    def read(name: str, content: object) -> int | None:
        (tmp_path / name).mkdir()
        with contextlib.suppress(AuditError):
            load_weights(saved(tmp_path / name, content), tmp_path / "cache")
        return number_of_the_kept()

    first = read("first", {"w": torch.ones(1)})
    assert first is not None
    assert read("second", {"w": torch.zeros(1)}) == first
    for name, refused in {"unsafe": {"w": print}, "damaged": {"w": torch.tensor(float("nan"))}}.items():
        assert read(name, refused) is None, "whatever was found, the next file gets another process"
    assert read("third", {"w": torch.ones(2)}) not in {first, None}


@pytest.mark.usefixtures("none_kept")
def test_a_process_that_was_killed_between_two_files_is_replaced(tmp_path):
    path = saved(tmp_path, {"w": torch.ones(1)})
    load_weights(path, tmp_path / "cache")
    os.kill(number_of_the_kept() or 0, signal.SIGKILL)
    reading_process._kept._process.wait()
    assert load_weights(path, tmp_path / "another cache").tensors["w"] == 1


@pytest.mark.usefixtures("none_kept")
def test_every_file_is_read_under_limits_of_its_own(tmp_path):
    """The fork of one file cannot lift its limits; the process that forks has none of them."""
    process = reading_process.ReadingProcess()
    sizes = {}
    for elements in (10, 10**6):
        torch.save({"w": torch.ones(elements)}, tmp_path / "w.pt")
        limits = process.read(tmp_path / "w.pt", tmp_path / "out", 60).said["limits"]
        assert {limits[f"RLIMIT_{name}"] for name in ("NOFILE", "NPROC", "CORE")} == {0}
        sizes[elements] = limits["RLIMIT_FSIZE"]
    process.close()
    assert sizes[10**6] - sizes[10] > 7 * 10**6


@pytest.mark.usefixtures("none_kept")
def test_a_fork_of_this_process_starts_its_own(tmp_path):
    """As the workers of an audit are: a conversation that two share would give one the other's answers."""
    path = saved(tmp_path, {"w": torch.ones(1)})
    load_weights(path, tmp_path / "cache")
    ours = number_of_the_kept()

    def in_fork(answer):
        before = number_of_the_kept()
        load_weights(path, tmp_path / "the fork's cache")
        answer.send((before, number_of_the_kept()))

    receiver, sender = multiprocessing.Pipe(duplex=False)
    fork = multiprocessing.get_context("fork").Process(target=in_fork, args=(sender,))
    fork.start()
    assert receiver.poll(60)
    before, theirs = receiver.recv()
    fork.join()
    assert before is None
    assert theirs not in {ours, None}
    assert ends(theirs), "it ends with the process that started it"
    load_weights(path, tmp_path / "one more cache")
    assert number_of_the_kept() == ours, "this process's own is none the worse for it"


def test_a_parent_that_is_killed_leaves_no_process(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from auditor.loading import reading_process as r\n"
        "r.read_in_process(Path(sys.argv[1]), Path(sys.argv[2]), 60); print(r._kept._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", script, saved(tmp_path, {"w": torch.ones(1)}), tmp_path / "out"]
    number = int(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert ends(number)


@pytest.mark.usefixtures("none_kept")
def test_the_child_imports_nothing_from_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("open('marker', 'w')")
    path = saved(tmp_path, {"w": torch.ones(3)})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([".", ""]))
    assert same(load_weights(Path(path.name), Path("cache")).tensors, {"w": torch.ones(3)})
    assert not (tmp_path / "marker").exists()


def test_the_child_inherits_where_things_are_and_nothing_else(tmp_path, monkeypatch):
    for name in ("SECRET", "LD_PRELOAD", "PYTHONSTARTUP", "PYTHONWARNINGS", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"):
        monkeypatch.setenv(name, "x")
    given = {}
    monkeypatch.setattr(subprocess, "run", lambda command, **rest: given.update(once=rest["env"]))
    monkeypatch.setattr(subprocess, "Popen", lambda command, **rest: given.update(kept=rest["env"]))
    child.run_module("auditor.loading.picklescan_report", [tmp_path], 1)
    child.start_module("auditor.loading.reader", multiprocessing.Pipe()[0], None)
    places = {"HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH"}
    assert given["once"] == given["kept"]
    assert given["kept"].keys() - places == {
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "CUDA_VISIBLE_DEVICES",
        "OMP_NUM_THREADS",
    }


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "_run_reader", lambda *_: "another digest")
    with pytest.raises(ModelError, match="changed while it was read"):
        load_weights(saved(tmp_path, {"w": torch.ones(1)}), tmp_path / "cache")
