"""Checkpoints from strangers, architectures from users, transformers directories."""

import collections
import importlib
import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from auditor.data import AuditData, Examples, Preprocessing
from auditor.errors import AuditError, ModelError, SpecError, UnsafeInputError
from auditor.loading import adapters, archive, checkpoints, child, reader
from auditor.loading.adapters import check_adapter
from auditor.loading.architecture import load_architecture
from auditor.loading.checkpoints import build_module, load_weights, weights_digest
from auditor.loading.configuration import check_configuration
from auditor.loading.tensors import find_state_dict, read_safetensors
from auditor.loading.tokenizers import load_tokenizer
from auditor.loading.transformers_directory import load_directory, preprocessing_of
from auditor.subjects.classification import Classifier
from auditor.subjects.layout import find_layout
from auditor.zoo.digits_net import DigitsNet
from tests import hostile_files

SHARED = Path(__file__).parents[2] / "shared" / "data"
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


def read(path: Path) -> dict[str, torch.Tensor]:
    """The reader without its process."""
    with path.open("rb") as file:
        return reader.read_checkpoint(file, path)


def saved(tmp_path: Path, content: object, **options: object) -> Path:
    path = tmp_path / "model.pt"
    torch.save(content, path, **options)
    return path


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and weights_digest(first) == weights_digest(second)


def rewritten(path: Path, change) -> Path:
    """The zip file again, each (name, bytes, compression) as ``change`` gives it."""
    with zipfile.ZipFile(path) as old:
        entries = [(info.filename, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(path, "w") as new:
        for name, data in entries:
            for written, content, compression in change(name, data):
                new.writestr(zipfile.ZipInfo(written), content, compress_type=compression)
    return path


STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


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


# --- damage and mistakes ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e5m2, torch.complex64])
def test_weights_that_are_not_finite_are_named(tmp_path, value, dtype):
    weight = torch.zeros(5)
    weight[3] = value
    with pytest.raises(ModelError, match=r"NaN or infinite values in 'head\.weight'"):
        read(saved(tmp_path, {"head.weight": weight.to(dtype)}))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_a_cut_short_file_is_a_clear_error(tmp_path, legacy, share):
    path = saved(tmp_path, {"w": torch.ones(500)}, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ModelError, match=r"model\.pt is a cut short or damaged checkpoint"):
        read(path)


def test_a_flipped_bit_in_the_weights_is_found(tmp_path):
    path = saved(tmp_path, {"w": torch.full((500,), 1.0)})
    data = path.read_bytes()
    one = struct.pack("<f", 1.0) * 500
    assert data.count(one) == 1
    path.write_bytes(data.replace(one, struct.pack("<f", 1.5) + one[4:]))
    with pytest.raises(ModelError, match="fails its checksum"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"w": torch.ones(1), "epoch": 3}, "holds a int under 'epoch' among its weights"),
        ({"state_dict": {"w": torch.ones(1), "n": [1]}}, "holds a list under 'n'"),
        ([torch.ones(1)], "should hold a state dict but holds a list"),
        ({}, "an empty one"),
        ({"model": {"w": torch.ones(1)}, "state_dict": {}}, "under state_dict and model"),
    ],
)
def test_what_is_no_state_dict_is_said(tmp_path, content, message):
    with pytest.raises(ModelError, match=message):
        read(saved(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"\x89HDF\r\n\x1a\n" + bytes(50), "is no checkpoint")]
)
def test_wrong_magic(tmp_path, content, message):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_weights(path, tmp_path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        load_weights(tmp_path / "absent.pt", tmp_path)
    with pytest.raises(ModelError, match="is a folder"):
        load_weights(tmp_path, tmp_path)


def test_a_zip_of_something_else(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/b.txt", "x")
    with pytest.raises(ModelError, match="zip file but no checkpoint"):
        read(path)
    two = rewritten(saved(tmp_path, {"w": torch.ones(1)}), lambda n, d: [(n, d, STORED), (f"other/{n}", d, STORED)])
    with pytest.raises(ModelError, match="zip file but no checkpoint"):
        read(two)


GOOD = io.BytesIO()
torch.save({"state_dict": {"w": torch.arange(8.0), "b": torch.ones(3)}, "epoch": 1}, GOOD)
GOOD_LEGACY = io.BytesIO()
torch.save({"w": torch.arange(8.0), "b": torch.ones(3)}, GOOD_LEGACY, _use_new_zipfile_serialization=False)
GOOD_SAFE = safetensors.torch.save({"w": torch.arange(8.0), "b": torch.ones(3)})


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([GOOD.getvalue(), GOOD_LEGACY.getvalue(), GOOD_SAFE]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damage_anywhere_gives_weights_or_one_sentence(good, edits):
    data = bytearray(good)
    for where, value in edits:
        data[int(where * len(data))] = value
    try:
        tensors = reader.read_checkpoint(io.BytesIO(bytes(data)), "model.pt")
    except AuditError as error:
        sentence = str(error)
    else:
        sentence = "model.pt is sound"
        assert all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point())
    assert sentence.startswith("model.pt ")
    assert "\n" not in sentence


# --- safetensors -----------------------------------------------------------------------------------


def crafted(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(shape, start, stop, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (crafted({"w": entry([0, 2**62], 0, 0)}), UnsafeInputError, "impossible shape"),
        (crafted({"w": entry([2**33, 2**33], 0, 8)}, bytes(8)), UnsafeInputError, "impossible shape"),
        (crafted({"w": entry([3], 0, 8)}, bytes(8)), UnsafeInputError, "does not match its bytes"),
        (crafted({"w": entry([-1], 0, 4)}, bytes(4)), UnsafeInputError, "whole number"),
        (crafted({"w": entry([True], 0, 4)}, bytes(4)), UnsafeInputError, "whole number"),
        (crafted({"w": entry([1], 0, 4, "PICKLE")}, bytes(4)), UnsafeInputError, "element type"),
        (crafted({"w": entry([1], 0, 4), "v": entry([1], 0, 4)}, bytes(4)), UnsafeInputError, "overlap"),
        (crafted({"w": entry([1], 4, 8)}, bytes(8)), UnsafeInputError, "leave a gap"),
        (crafted({"w": entry([1], 0, 4)}, bytes(9)), UnsafeInputError, "5 bytes follow"),
        (crafted({"w": entry([2], 0, 8)}, bytes(4)), ModelError, "cut short"),
        (crafted({"<b>": entry([1], 0, 4)}, bytes(4)), UnsafeInputError, "no plain parameter name"),
        (crafted(b'{"w":{},"w":{}}'), UnsafeInputError, "twice"),
        (crafted(b'{"a":' + b"[" * 10**5), UnsafeInputError, "malformed"),
        (crafted(b"{}", length=2**40), UnsafeInputError, "claims 1099511627776 bytes"),
        (crafted({"w": entry([1], 0, 4)}, length=500), ModelError, "cut short"),
        (crafted({"w": entry([1], 0, 4)}, struct.pack("<f", float("nan"))), ModelError, "NaN"),
        (crafted({}), ModelError, "an empty one"),
    ],
)
def test_hostile_safetensors(data, kind, message):
    with pytest.raises(kind, match=message):
        read_safetensors(data, "w.safetensors")


# --- the process and its limits -----------------------------------------------------------------------


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


# --- building the network ------------------------------------------------------------------------------


def weights_of(tensors: dict[str, torch.Tensor]) -> checkpoints.Weights:
    return checkpoints.Weights(tensors=tensors, file_digest="", digest=weights_digest(tensors))


def test_a_network_is_built_in_eval_mode_without_touching_the_global_seed():
    weights = DigitsNet().state_dict()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    module = build_module(DigitsNet, weights_of(weights), "original.pt")
    assert torch.equal(torch.rand(1), expected)
    assert same(module.state_dict(), weights)
    assert not module.training


def test_a_missing_step_counter_of_old_files_is_supplied():
    norm = nn.Sequential(nn.BatchNorm1d(3))
    weights = {k: v + 1 for k, v in norm.state_dict().items() if not k.endswith("num_batches_tracked")}
    built = build_module(lambda: nn.Sequential(nn.BatchNorm1d(3)), weights_of(weights), "m")
    assert torch.equal(built[0].running_mean, torch.ones(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: {k: v for k, v in w.items() if k != "head.bias"},
            r"m\.pt does not fit .* missing head\.bias",
        ),
        (
            lambda w: {**w, **{f"extra{i}": torch.ones(1) for i in range(5)}},
            "unexpected extra0, extra1, extra2 and 2 more",
        ),
        (
            lambda w: {**w, "head.bias": torch.ones(7)},
            r"head\.bias is float32 \[7\] instead of float32 \[10\].*number of classes",
        ),
        (
            lambda w: {**w, "head.bias": torch.ones(10, dtype=torch.int8)},
            r"head\.bias is int8 \[10\] instead of float32",
        ),
        (
            lambda w: {**w, "head.bias": torch.ones(10, dtype=torch.complex64)},
            r"head\.bias is complex64 \[10\] instead of float32",
        ),
        (
            lambda w: {**w, "head.bias": torch.full((10,), 1e300, dtype=torch.float64)},
            r"m\.pt holds values in 'head\.bias' that are beyond float32",
        ),
        (lambda w: {f"net.{k}": v for k, v in w.items()}, "names all start with 'net.'"),
    ],
)
def test_a_checkpoint_that_does_not_fit_says_how(change, message):
    with pytest.raises(ModelError, match=message):
        build_module(DigitsNet, weights_of(change(DigitsNet().state_dict())), "m.pt")


# --- architectures ---------------------------------------------------------------------------------------


def test_an_architecture_may_import_its_siblings_and_leaves_no_trace(tmp_path):
    for folder, width in (("one", 3), ("two", 4)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sizes.py").write_text(f"WIDTH = {width}")
        (tmp_path / folder / "net.py").write_text(
            "from dataclasses import dataclass\nimport torch\nfrom sizes import WIDTH\n"
            "@dataclass\nclass Shape:\n    width: 'int' = WIDTH\n"
            "def build():\n    import sizes\n    return torch.nn.Linear(Shape().width, sizes.WIDTH)\n"
        )
    modules, path = set(sys.modules), list(sys.path)
    one = load_architecture("one/net.py:build", tmp_path)
    two = load_architecture("two/net.py:build", tmp_path)
    assert one.function().weight.shape == (3, 3)
    assert two.function().weight.shape == (4, 4)
    assert sys.path == path
    assert set(sys.modules) == modules
    assert one.source_digest != two.source_digest, "the files are equal, their siblings differ"
    assert one.source_digest == load_architecture("one/net.py:build", tmp_path).source_digest


def test_an_architectures_digest_does_not_know_who_else_is_loaded(tmp_path, monkeypatch):
    """Tests beside it are imported before it, and may have imported what it imports itself."""
    (tmp_path / "parts").mkdir()
    for name, text in {
        "parts/__init__.py": "",
        "parts/sizes.py": "from .units import UNIT\nWIDTH = 3 * UNIT",
        "parts/units.py": "UNIT = 1",
        "net.py": "import parts.sizes\nimport torch\ndef build(): return torch.nn.Linear(parts.sizes.WIDTH, 1)",
        "test_net.py": "from parts.sizes import WIDTH\ndef test_width(): assert WIDTH == 3",
    }.items():
        (tmp_path / name).write_text(text)
    alone = load_architecture("net.py:build", tmp_path).source_digest
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("test_net")
    try:
        assert load_architecture("net.py:build", tmp_path).source_digest == alone
        (tmp_path / "test_net.py").write_text("changed = True")
        assert load_architecture("net.py:build", tmp_path).source_digest == alone
        (tmp_path / "parts/units.py").write_text("UNIT = 2")
        assert load_architecture("net.py:build", tmp_path).source_digest != alone
    finally:
        for name in ("test_net", "parts", "parts.sizes", "parts.units"):
            sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("source", "text", "kind", "message"),
    [
        ("net.py", "", SpecError, "not of the form"),
        ("net.txt:build", "", SpecError, "not of the form"),
        ("absent.py:build", "", SpecError, r"absent\.py, which does not exist"),
        ("net.py:build", "x = 1", SpecError, "function build, which net.py does not define"),
        ("net.py:build", "build = 3", SpecError, "does not define"),
        ("net.py:build", "def build(:", ModelError, "raised SyntaxError"),
        (
            "net.py:build",
            "import no_such_thing",
            ModelError,
            "raised ModuleNotFoundError: No module named 'no_such",
        ),
        ("net.py:build", "def build():\n    return 1 / 0", ModelError, "raised ZeroDivisionError"),
        ("net.py:build", "def build(n):\n    pass", ModelError, "raised TypeError"),
        (
            "net.py:build",
            "def build():\n    pass",
            ModelError,
            r"returned nothing; it should return a torch\.nn\.Module",
        ),
    ],
)
def test_architecture_mistakes(tmp_path, source, text, kind, message):
    (tmp_path / "net.py").write_text(text)
    (tmp_path / "net.txt").write_text(text)
    with pytest.raises(kind, match=message):
        load_architecture(source, tmp_path).function()


# --- transformers directories -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vit():
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=16,
        patch_size=8, num_labels=5, initializer_range=0.5,
    )  # fmt: skip
    return ViTForImageClassification(config).eval()


@pytest.fixture
def directory(vit, tmp_path):
    vit.save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def edit(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_directory_loads_exactly_and_quietly_without_network(vit, directory, monkeypatch, capfd):
    def no_network(*_):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", no_network)
    capfd.readouterr()
    loaded = load_directory(directory)
    assert same(loaded.module.state_dict(), vit.state_dict())
    assert loaded.digest == weights_digest(vit.state_dict())
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded.module(images).logits, vit(images).logits)
    assert "".join(capfd.readouterr()) == ""


def test_a_transformer_can_be_cut_recorded_and_made_canonical(directory):
    module = load_directory(directory).module
    images = torch.randn(24, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    sets = [Examples(raw=images[i::3], labels=torch.arange(8) % 5) for i in range(3)]
    data = AuditData(
        request="class", classes=(0,), n_classes=5, forget_attack=sets[0], forget_eval=sets[1], retain=sets[2]
    )
    layout = find_layout(module, images[:8])
    assert layout.n_classes == 5
    assert layout.head == "classifier"
    assert layout.layers[-1] == "classifier:input"
    assert len(layout.layers) >= 3, "the blocks are cut points"
    subject = Classifier(module, role="original", digest="d", layout=layout, data=data)
    recording = subject.recording("retain")
    assert recording.logits.shape == (8, 5)
    assert {f.shape[1] for f in recording.features.values()} == {32}
    canonical = subject.canonical()
    assert torch.allclose(canonical.logits(sets[1]), subject.logits(sets[1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"auto_map": {"AutoModel": "evil.Net"}}, UnsafeInputError, "auto_map brings code"),
        ({"nested": [{"auto_map": {"x": "y"}}]}, UnsafeInputError, "auto_map brings code"),
        ({"_attn_implementation_internal": "evil/kernel"}, UnsafeInputError, "_attn_implementation_internal"),
        ({"attn_implementation": "evil/kernel"}, UnsafeInputError, "attn_implementation"),
        ({"backbone": "resnet18"}, UnsafeInputError, "backbone"),
        ({"num_hidden_layers": 10**6}, UnsafeInputError, "num_hidden_layers is 1000000, beyond 1000"),
        ({"hidden_size": 10**9}, UnsafeInputError, "hidden_size is 1000000000, beyond"),
        (
            {"intermediate_size": 10**7},
            ModelError,
            "describes a model of .* parameters but model.safetensors holds",
        ),
        ({"hidden_size": "wide"}, ModelError, "fits no model"),
        ({"model_type": "t5"}, ModelError, "no image classifier"),
        ({"model_type": "../evil"}, ModelError, "no image classifier"),
        (
            {"num_labels": 7, "id2label": {str(i): str(i) for i in range(7)}},
            ModelError,
            "mismatched keys, classifier",
        ),
        ({"num_hidden_layers": 1}, ModelError, "unexpected keys"),
    ],
)
def test_configurations_that_are_refused(directory, fields, kind, message):
    edit(directory / "config.json", **fields)
    with pytest.raises(kind, match=message):
        load_directory(directory)


@pytest.mark.parametrize(
    "field",
    [
        *("auto_map", "custom_pipelines", "trust_remote_code", "quantization_config", "kernel_config", "use_kernels"),
        *("use_pretrained_backbone", "use_timm_backbone", "backbone", "adapter", "experts_implementation"),
    ],
)
def test_a_hostile_field_is_refused_at_every_depth(field):
    for place in ({field: "x"}, {"a": {"b": {field: {"c": 1}}}}, {"a": [[{field: True}]]}):
        with pytest.raises(UnsafeInputError, match=f"its field {field} brings code or weights from elsewhere"):
            check_configuration(place, Path("config.json"))
    check_configuration({field: None, "a": {field: False}}, Path("config.json"))


@pytest.mark.parametrize("place", [{"num_hidden_layers": 1001}, {"depths": [2, 2000]}, {"a": {"width": -(10**8)}}])
def test_an_absurd_size_is_refused_at_every_depth(place):
    with pytest.raises(UnsafeInputError, match="beyond 1"):
        check_configuration(place, Path("config.json"))


@pytest.mark.parametrize(
    ("limit", "name", "reader"),
    [
        ("transformers_directory._MAX_CONFIG_BYTES", "config.json", load_directory),
        ("transformers_directory._MAX_CONFIG_BYTES", "preprocessor_config.json", preprocessing_of),
        ("tokenizers._MAX_BYTES", "tokenizer.json", load_tokenizer),
        ("adapters._MAX_CONFIG_BYTES", "adapter_config.json", check_adapter),
    ],
)
def test_a_description_without_end_is_refused_before_it_is_read(tmp_path, monkeypatch, limit, name, reader):
    (tmp_path / name).write_text("{}" + " " * 9)
    monkeypatch.setattr(f"auditor.loading.{limit}", 10)
    with pytest.raises((UnsafeInputError, ModelError), match=rf"{name}.* has more than 10 bytes"):
        reader(tmp_path)


def test_a_configuration_keeps_only_what_its_class_declares(vit, directory):
    edit(directory / "config.json", to_dict="x", _name_or_path="../evil", surprise={"code": "evil"})
    config = load_directory(directory).module.config
    assert config.to_dict().keys() == vit.config.to_dict().keys()
    assert not vars(config).keys() & {"to_dict", "surprise"}
    assert "evil" not in str(vars(config))


def test_old_names_of_a_configuration_still_count(tmp_path):
    from auditor.zoo.text.people_model import people_model

    people_model(40, layers=1, width=16)().save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    del fields["rope_parameters"]
    (tmp_path / "config.json").write_text(json.dumps({**fields, "rope_theta": 777.0, "torch_dtype": "float32"}))
    assert load_directory(tmp_path).module.config.rope_parameters["rope_theta"] == 777.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.to(torch.int8), r"holds 'classifier\.bias' as int8, which the network does not compute with"),
        (lambda w: w.to(torch.complex64), r"'classifier\.bias' as complex64"),
        (lambda w: torch.full_like(w, 1e300, dtype=torch.float64), r"'classifier\.bias' that are beyond float32"),
    ],
)
@pytest.mark.filterwarnings("ignore:Casting complex")
def test_weights_of_another_type_than_the_network_are_refused(directory, change, message):
    weights = safetensors.torch.load_file(directory / "model.safetensors")
    weights["classifier.bias"] = change(weights["classifier.bias"])
    safetensors.torch.save_file(weights, directory / "model.safetensors")
    with pytest.raises(ModelError, match=message):
        load_directory(directory)


def test_a_headless_model_is_not_given_a_random_head(directory):
    weights = safetensors.torch.load_file(directory / "model.safetensors")
    safetensors.torch.save_file(
        {k: v for k, v in weights.items() if not k.startswith("classifier")}, directory / "model.safetensors"
    )
    with pytest.raises(ModelError, match=r"2 missing keys, classifier\.bias first"):
        load_directory(directory)


def test_pickled_weights_are_refused_and_sharded_ones_explained(directory):
    weights = directory / "model.safetensors"
    torch.save({"w": torch.ones(1)}, weights)
    with pytest.raises(UnsafeInputError, match="not in safetensors format"):
        load_directory(directory)
    weights.rename(directory / "pytorch_model.bin")
    with pytest.raises(UnsafeInputError, match=r"its weights are in pytorch_model\.bin"):
        load_directory(directory)
    (directory / "pytorch_model.bin").rename(directory / "notes.txt")
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
        load_directory(directory)
    (directory / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        load_directory(directory)
    (directory / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json does not exist"):
        load_directory(directory)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {
                "size": {"height": 16, "width": 24},
                "image_mean": [0.5, 0.4, 0.3],
                "image_std": [0.2, 0.2, 0.2],
            },
            Preprocessing(resize=(16, 24), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)),
        ),
        ({"size": 32, "do_normalize": False, "image_mean": [0.5]}, Preprocessing(resize=(32, 32))),
        ({"do_resize": False, "size": 32, "rescale_factor": 1 / 255}, Preprocessing()),
        (
            {"size": {"shortest_edge": 8}, "do_center_crop": True, "crop_size": {"height": 8, "width": 8}},
            Preprocessing(resize=(8, 8)),
        ),
    ],
)
def test_preprocessing_is_read(tmp_path, fields, expected):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
    assert preprocessing_of(tmp_path) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"do_rescale": False}, "does not scale pixels by 1/255"),
        ({"rescale_factor": 1 / 127.5}, "does not scale pixels by 1/255"),
        ({"rescale_factor": "1/255"}, "does not scale pixels by 1/255"),
        ({"rescale_factor": 10**400}, "malformed"),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224}, "crops to another size"),
        ({"size": {"tall": 3}}, "malformed size"),
        ({"image_mean": "grey"}, "malformed"),
    ],
)
def test_preprocessing_that_cannot_be_expressed_is_said(tmp_path, fields, message):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(fields))
    with pytest.raises(ModelError, match=message):
        preprocessing_of(tmp_path)


def test_absent_preprocessing_is_not_taken_for_none(tmp_path):
    with pytest.raises(ModelError, match=r"preprocessor_config\.json does not exist"):
        preprocessing_of(tmp_path)


def test_containers_are_told_by_content(tmp_path):
    for data, kind in [
        (GOOD.getvalue(), "zip"),
        (GOOD_LEGACY.getvalue(), "legacy"),
        (GOOD_SAFE, "safetensors"),
    ]:
        assert archive.identify(io.BytesIO(data), "f") == kind


def test_an_adapters_configuration_is_rebuilt_from_what_is_kept(tmp_path):
    path = tmp_path / "adapter_config.json"
    elsewhere = {"base_model_name_or_path": "evil/evil", "revision": "evil", "auto_mapping": {"x": "evil"}}
    path.write_text(json.dumps({"peft_type": "LORA", "r": 4, "target_modules": ["q"], "lora_bias": False, **elsewhere}))
    assert adapters._configuration(tmp_path, {}) == {"r": 4, "target_modules": ["q"]}
    for field in ("megatron_core", "layer_replication", "modules_to_save", "eva_config", "never_heard_of"):
        path.write_text(json.dumps({"peft_type": "LORA", field: "evil"}))
        with pytest.raises(ModelError, match=f"asks for {field}, which is not read"):
            adapters._configuration(tmp_path, {})
    path.write_text(json.dumps({"peft_type": "IA3", "r": 4}))
    with pytest.raises(ModelError, match="describes no LoRA adapter"):
        adapters._configuration(tmp_path, {})


class TestShards:
    """A language model whose weights stand in several files, as transformers writes large ones."""

    @pytest.fixture
    def sharded(self, tmp_path):
        from auditor.zoo.text.people_model import people_model

        module = people_model(40, layers=1, width=16)()
        module.save_pretrained(tmp_path, max_shard_size="5KB")
        assert not (tmp_path / "model.safetensors").exists()
        return module, tmp_path

    def test_are_read_as_one(self, sharded):
        module, folder = sharded
        loaded = load_directory(folder)
        assert loaded.task == "causal-lm"
        for name, tensor in module.state_dict().items():
            assert torch.equal(loaded.module.state_dict()[name], tensor)

    def test_a_missing_shard_is_named(self, sharded):
        _, folder = sharded
        first = sorted(folder.glob("model-*.safetensors"))[0]
        first.unlink()
        with pytest.raises(ModelError, match=first.name):
            load_directory(folder)

    @pytest.mark.parametrize("name", ["../model.safetensors", "model.bin", "/etc/passwd"])
    def test_files_from_elsewhere_are_refused(self, sharded, name):
        _, folder = sharded
        edit(folder / "model.safetensors.index.json", weight_map={"lm_head.weight": name})
        with pytest.raises(ModelError, match=r"should name \.safetensors files beside it"):
            load_directory(folder)
