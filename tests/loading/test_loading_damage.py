"""Checkpoints that are cut short, damaged, no checkpoints at all, or crafted safetensors."""

import io
import json
import struct
import zipfile

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import AuditError, ModelError, UnsafeInputError
from auditor.loading import archive, reader
from auditor.loading.checkpoints import load_weights
from auditor.loading.tensors import read_safetensors
from tests.checkpoint_files import STORED, read, rewritten, saved


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
    ("content", "message"),
    [(b"", "is empty"), (b"\x89HDF\r\n\x1a\n" + bytes(50), "is an HDF5 file, as Keras writes it")],
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


def test_containers_are_told_by_content(tmp_path):
    for data, kind in [
        (GOOD.getvalue(), "zip"),
        (GOOD_LEGACY.getvalue(), "legacy"),
        (GOOD_SAFE, "safetensors"),
    ]:
        assert archive.identify(io.BytesIO(data), "f") == kind


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
