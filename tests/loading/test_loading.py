"""Checkpoints from strangers: every sound format reads, and no file runs code or exhausts the machine."""

import collections
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from auditor.errors import ModelError, UnsafeInputError
from auditor.loading import archive, checkpoints, reader
from auditor.loading.checkpoints import load_weights, weights_digest
from auditor.loading.tensors import find_state_dict
from auditor.zoo.digits_net import DigitsNet
from tests import hostile_files
from tests.checkpoint_files import DEFLATED, STORED, read, rewritten, same, saved

SHARED = Path(__file__).parents[3] / "shared" / "data"
RESNET = SHARED / "cifar10" / "resnet20-12fca82f.th"
LENET = SHARED / "mnist" / "lenet5-unlearned-class0.pth"


class Leaves(nn.Module):
    """A module whose pickle names a class of this file."""


class Runs:
    """Unpickling an instance writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


# --- sound files, every format -------------------------------------------------------------------


def all_types() -> dict[str, torch.Tensor]:
    return {
        "half": torch.arange(6, dtype=torch.float16).view(2, 3),
        "brain": torch.arange(4, dtype=torch.bfloat16),
        "double": torch.tensor(1.5, dtype=torch.float64),
        "count": torch.tensor(7),
        "mask": torch.tensor([True, False]),
        "turned": torch.arange(6.0).view(2, 3).t(),
        "empty": torch.zeros(0, 3),
    }


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3, "best": 0.5},
        lambda s: {"model": {"state_dict": s}},
        lambda s: {"model_state_dict": {f"module.{k}": v for k, v in s.items()}},
    ],
)
def test_every_nesting_and_format_reads_bit_exactly(tmp_path, legacy, wrap):
    weights = all_types()
    path = saved(tmp_path, wrap(weights), _use_new_zipfile_serialization=not legacy)
    assert same(read(path), weights)


def test_parameters_and_tied_weights_read(tmp_path):
    table = nn.Parameter(torch.randn(4, 2))
    path = saved(tmp_path, {"in": table, "out": table})
    assert same(read(path), {"in": table.data, "out": table.data})


def test_a_name_that_only_some_share_is_kept():
    weights = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert find_state_dict(weights, "f").keys() == weights.keys()


def test_the_child_converts_once_and_the_cache_is_checked(tmp_path, monkeypatch):
    weights = DigitsNet().state_dict()
    path = saved(tmp_path, {"state_dict": weights})
    runs = []
    run = checkpoints._run_reader
    monkeypatch.setattr(checkpoints, "_run_reader", lambda *a: (runs.append(a), run(*a))[1])
    first = load_weights(path, tmp_path / "cache")
    again = load_weights(path, tmp_path / "cache")
    assert same(first.tensors, weights)
    assert first.digest == again.digest == weights_digest(weights)
    assert len(runs) == 1
    (kept,) = (tmp_path / "cache").glob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-4] + b"\1\2\3\4")
    assert load_weights(path, tmp_path / "cache").digest == first.digest
    assert len(runs) == 2
    assert sorted(p.suffix for p in (tmp_path / "cache").iterdir()) == [".safetensors", ".sha256"]


def test_safetensors_need_no_child_and_have_the_same_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "_run_reader", None)
    weights = {k: v.contiguous() for k, v in all_types().items()}
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({f"module.{k}": v for k, v in weights.items()}, path)
    loaded = load_weights(path, tmp_path)
    assert same(loaded.tensors, weights)
    assert loaded.digest == weights_digest(all_types())


def test_any_change_of_name_shape_type_or_value_changes_the_digest():
    base = {"a": torch.zeros(4), "b": torch.ones(2)}
    others = [
        {"a": torch.zeros(2, 2), "b": torch.ones(2)},
        {"a": torch.zeros(4, dtype=torch.int32), "b": torch.ones(2)},
        {"a": torch.zeros(4), "c": torch.ones(2)},
        {"a": torch.zeros(4), "b": torch.tensor([1.0, torch.finfo().eps])},
        {"a": torch.zeros(4)},
    ]
    assert len({weights_digest(w) for w in [base, *others]}) == len(others) + 1
    assert weights_digest({"b": torch.ones(4)[::2], "a": base["a"]}) == weights_digest(base)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are absent")
def test_published_checkpoints_read(tmp_path):
    resnet = load_weights(RESNET, tmp_path).tensors
    assert resnet["conv1.weight"].shape == (16, 3, 3, 3)
    assert not any(name.startswith("module.") for name in resnet)
    assert same(read(LENET), torch.load(LENET, weights_only=True))


# --- files that would run code -------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
def test_a_payload_never_runs(tmp_path, legacy, monkeypatch):
    marker = tmp_path / "marker"
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = saved(
        tmp_path,
        {"state_dict": {"w": torch.ones(2)}, "x": [{"y": Runs(marker)}]},
        _use_new_zipfile_serialization=not legacy,
    )
    with pytest.raises(UnsafeInputError, match=r"posix\.system.* convert it yourself"):
        load_weights(path, tmp_path / "cache") if legacy else read(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the payload is live, so the test above means something"


def test_a_whole_model_is_refused_with_the_conversion_to_run(tmp_path):
    path = saved(tmp_path, Leaves())
    with pytest.raises(UnsafeInputError) as caught:
        read(path)
    message = str(caught.value)
    assert caught.value.exit_code == 4
    assert str(path) in message
    assert "Leaves" in message
    assert (
        f"python -c \"import torch; m = torch.load('{path}', weights_only=False); "
        "torch.save(m.state_dict(), 'weights.pt')\"" in message
    )
    assert "Traceback" not in message
    assert "\n" not in message


def test_the_conversion_runs_in_a_shell_and_a_hostile_file_name_does_not(tmp_path):
    name = "$(touch owned)'\"`touch owned`.pt"
    torch.save(nn.Linear(2, 1), tmp_path / name)
    command = reader.conversion(name, "").replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert read(tmp_path / "weights.pt").keys() == {"weight", "bias"}
    assert not (tmp_path / "owned").exists()


def test_a_bare_pickle_and_a_torchscript_archive_are_refused(tmp_path):
    bare = tmp_path / "bare.pt"
    bare.write_bytes(pickle.dumps({"w": 1}))
    with pytest.raises(UnsafeInputError, match="bare pickle"):
        read(bare)
    path = saved(tmp_path, {"w": torch.ones(1)})
    rewritten(
        path,
        lambda n, d: [(n, d, STORED), ("model/constants.pkl", d, STORED)] if n.endswith(".pkl") else [(n, d, STORED)],
    )
    with pytest.raises(UnsafeInputError, match="TorchScript"):
        read(path)


# --- files that would exhaust the machine, or that two readers see differently -----------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, d: [(n, d, DEFLATED)], "is compressed"),
        (
            lambda n, d: (
                [(n, d, STORED), (n.replace("data/0", "../evil"), d, STORED)] if "data/0" in n else [(n, d, STORED)]
            ),
            "leaves its folder",
        ),
        (
            lambda n, d: [(n, d, STORED), ("/etc/x", d, STORED)] if "data/0" in n else [(n, d, STORED)],
            "leaves its folder",
        ),
    ],
)
def test_odd_zip_entries_are_refused(tmp_path, change, message):
    path = rewritten(saved(tmp_path, {"w": torch.ones(64)}), change)
    with pytest.raises(UnsafeInputError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("signature", "at", "value", "message"),
    [
        (b"PK\x01\x02", 10, DEFLATED, "is compressed;"),
        (b"PK\x01\x02", 20, 1, "is compressed;"),
        (b"PK\x01\x02", 8, 1, "is encrypted"),
        (b"PK\x03\x04", 8, DEFLATED, "compressed or encrypted by its header"),
        (b"PK\x03\x04", 6, 1, "compressed or encrypted by its header"),
    ],
    ids=["directory's method", "directory's size", "directory's flag", "header's method", "header's flag"],
)
def test_an_entry_that_only_one_reader_would_unpack_is_refused(tmp_path, signature, at, value, message):
    path = saved(tmp_path, {"w": torch.ones(64)})
    data = bytearray(path.read_bytes())
    data[data.index(signature) + at] ^= value
    path.write_bytes(data)
    with pytest.raises(UnsafeInputError, match=message):
        read(path)


@pytest.mark.parametrize("folder", ["..", "", "C:", "a\\b"])
def test_a_folder_that_leads_elsewhere_is_refused(tmp_path, folder):
    path = saved(tmp_path, {"w": torch.ones(64)})
    rewritten(path, lambda n, d: [(folder + n[n.index("/") :], d, STORED)])
    with pytest.raises(UnsafeInputError, match="leaves its folder"):
        read(path)


def test_a_name_that_ends_early_for_some_readers_is_refused(tmp_path):
    path = saved(tmp_path, {"w": torch.ones(64)})
    rewritten(path, lambda n, d: [(n, d, STORED), *([("model/data/9Zx", d, STORED)] if n.endswith(".pkl") else [])])
    path.write_bytes(path.read_bytes().replace(b"/9Zx", b"/9\0x"))
    with pytest.raises(UnsafeInputError, match="leaves its folder"):
        read(path)


def test_a_directory_without_end_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, {str(i): torch.ones(1) for i in range(9)})
    monkeypatch.setattr(archive, "_MAX_ENTRIES", 8)
    with pytest.raises(UnsafeInputError, match="entries, more than 8"):
        read(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_zip_entries_are_refused(tmp_path):
    path = rewritten(saved(tmp_path, {"w": torch.ones(64)}), lambda n, d: [(n, d, STORED)] * 2)
    with pytest.raises(UnsafeInputError, match="stands in it twice"):
        read(path)


def test_hidden_bytes_are_refused(tmp_path):
    good = saved(tmp_path, {"w": torch.ones(64)}).read_bytes()
    path = tmp_path / "padded.pt"
    path.write_bytes(b"PK\x03\x04" + bytes(60) + good)
    with pytest.raises(UnsafeInputError, match="hides bytes"):
        read(path)
    with zipfile.ZipFile(io.BytesIO(good)) as original:
        start = original.start_dir
    path.write_bytes(good[:start] + bytes(100) + good[start:])
    with pytest.raises((UnsafeInputError, ModelError), match=r"add up|hides bytes|damaged"):
        read(path)
    path.write_bytes(good[:-2] + struct.pack("<H", 40) + bytes(40))
    with pytest.raises(UnsafeInputError, match="add up"):
        read(path)


@pytest.mark.parametrize("name", ["model/other.pkl", "model/extra/files.txt", "model/data/x"])
def test_an_entry_meant_for_another_reader_is_refused(tmp_path, name):
    path = saved(tmp_path, {"w": torch.ones(64)})
    rewritten(path, lambda n, d: [(n, d, STORED), *([(name, d, STORED)] if n.endswith(".pkl") else [])])
    with pytest.raises(UnsafeInputError, match=r"which torch\.save does not write"):
        read(path)


def test_a_renamed_local_header_is_refused(tmp_path):
    path = saved(tmp_path, {"w": torch.ones(64)})
    path.write_bytes(path.read_bytes().replace(b"model/data.pkl", b"model/dada.pkl", 1))
    with pytest.raises(UnsafeInputError, match="another name"):
        read(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.zeros(1).expand(10**6), "claims 1000000 elements"),
        (lambda: torch.eye(3).to_sparse(), "is sparse"),
        (lambda: torch.eye(3).to_sparse_csr(), "is sparse"),
        (lambda: torch.empty(3, device="meta"), "meta device"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "is quantised"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "is nested"),
        (lambda: torch.ones((1,) * 17), "impossible shape"),
    ],
    ids=["expanded", "coo", "csr", "meta", "quantised", "nested", "shape"],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_not_plain_are_refused_by_name(tmp_path, make, message):
    path = saved(tmp_path, {"fine": torch.ones(1), "odd.weight": make()})
    with pytest.raises(UnsafeInputError, match=rf"'odd\.weight' .*{message}"):
        read(path)


def test_a_tensor_of_another_class_is_refused():
    class Odd(torch.Tensor):
        pass

    with pytest.raises(UnsafeInputError, match=r"'w' is a Odd, not a plain tensor"):
        find_state_dict({"w": torch.ones(1).as_subclass(Odd)}, "f")


def test_attributes_do_not_speak_for_a_dictionary(tmp_path):
    class Speaks:
        def __reduce__(self):
            return collections.OrderedDict, ([("w", torch.ones(1))],), {"items": [1], "get": [2]}

    assert same(read(saved(tmp_path, {"state_dict": Speaks()})), {"w": torch.ones(1)})
    assert same(read(saved(tmp_path, Speaks())), {"w": torch.ones(1)})


def test_one_storage_under_two_keys_is_refused(tmp_path):
    """A number and a text name the same entry and are read twice."""
    made = {
        name: hostile_files.Rebuilt(
            torch._utils._rebuild_tensor_v2, hostile_files.Storage(1024, key), 0, (4,), (1,), False, {}
        )
        for name, key in (("w", "0"), ("v", 0))
    }
    out = io.BytesIO()
    hostile_files._Pickler(out, protocol=2).dump(made)
    path = tmp_path / "twice.pt"
    path.write_bytes(hostile_files.zipped(out.getvalue(), extra={"m/data/0": bytes(4096)}))
    with pytest.raises(UnsafeInputError, match="its tensors add up to 32 bytes"):
        read(path)


def test_many_views_of_one_storage_are_refused(tmp_path):
    block = torch.ones(1000)
    path = saved(tmp_path, {f"w{i}": block.view(10, 100) for i in range(40)})
    with pytest.raises(UnsafeInputError, match="add up to 160000 bytes"):
        read(path)


@pytest.mark.parametrize("name", ["<script>", "a\x1b[2J", "x" * 300, "‮evil", 3])
def test_odd_names_are_refused_and_shown_harmlessly(tmp_path, name):
    with pytest.raises(UnsafeInputError, match="no plain parameter name") as caught:
        read(saved(tmp_path, {name: torch.ones(1)}))
    assert str(caught.value).isprintable()


def test_too_large_a_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "MAX_FILE_BYTES", 100)
    with pytest.raises(UnsafeInputError, match="at most 100 are read"):
        load_weights(saved(tmp_path, {"w": torch.ones(1)}), tmp_path)
