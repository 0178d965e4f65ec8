"""The process that reads a checkpoint: its limits, its environment, and whatever becomes of it."""

import collections
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from auditor.errors import AuditError, ModelError, UnsafeInputError
from auditor.loading import checkpoints, child
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


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (
            "print('{}', flush=True); import os, signal; os.kill(os.getpid(), signal.SIGXCPU)",
            UnsafeInputError,
            "signal SIGXCPU",
        ),
        ("print('{}'); raise KeyError('deep inside')", UnsafeInputError, "KeyError: 'deep inside'"),
        ("import no_such_module", AuditError, "did not start: ModuleNotFoundError"),
        ("print('{}'); import time; time.sleep(60)", UnsafeInputError, "took more than"),
        (
            r"""print('{"error": "\\u001b[2J\\u202e", "kind": "unsafe"}'); exit(1)""",
            UnsafeInputError,
            r"^\\x1b\[2J\\u202e$",
        ),
    ],
    ids=["killed", "crashed", "never started", "hangs", "speaks to the terminal"],
)
def test_whatever_becomes_of_the_child_is_told_in_a_sentence(tmp_path, monkeypatch, body, kind, message):
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **rest: run([sys.executable, "-c", body], **rest))
    monkeypatch.setattr(checkpoints, "START_SECONDS", -118)
    with pytest.raises(kind, match=message) as caught:
        load_weights(saved(tmp_path, {"w": torch.ones(1)}), tmp_path / "cache")
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


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
    monkeypatch.setattr(subprocess, "run", lambda command, **rest: given.update(rest["env"]))
    child.run_module("auditor.loading.reader", [tmp_path], 1)
    places = {"HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH"}
    assert given.keys() - places == {
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "CUDA_VISIBLE_DEVICES",
        "OMP_NUM_THREADS",
    }


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "_run_reader", lambda *_: "another digest")
    with pytest.raises(ModelError, match="changed while it was read"):
        load_weights(saved(tmp_path, {"w": torch.ones(1)}), tmp_path / "cache")
