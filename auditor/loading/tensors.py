"""What counts as plain weights: named, dense, finite tensors, whatever file they came in."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from mmap import mmap
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from auditor.errors import ModelError, UnsafeInputError

NESTING_KEYS = ("state_dict", "model_state_dict", "model")
# A pickled dictionary may hold itself, so that the descent needs an end.
MAX_NESTING = 3
# A header is parsed as JSON in the audit's own process.
MAX_HEADER_BYTES = 4 * 2**20
# More than a file of the allowed size can hold, and few enough that byte counts do not overflow in torch.
MAX_ELEMENTS = 2**40
_NAME = re.compile(r"[A-Za-z0-9_.:/+ -]{1,256}")
_FINITE_CHUNK = 2**22
_ITEM_BYTES = {
    **{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "C64": 8, "BOOL": 1},
    **{"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1},
}


def plain(text: object, limit: int = 80) -> str:
    r"""Escape control and bidirectional characters of a stranger's text, and cut it at a limit.

    >>> print(plain("conv1.weight"), plain(chr(27) + "[2J"))
    conv1.weight \x1b[2J
    """
    # Cut before it is escaped: the text may be of any length. One more character tells that it was cut.
    characters = (c if c.isprintable() else ascii(c)[1:-1] for c in str(text)[: limit + 1])
    escaped = "".join(characters)
    return escaped if len(escaped) <= limit else escaped[:limit] + "..."


def shown(file: object) -> str:
    """Give a file's name as messages show it."""
    return plain(file, 300)


def refused(file: object, reason: str) -> UnsafeInputError:
    """Make the error for a file that is not read because reading it could do harm."""
    return UnsafeInputError(f"{shown(file)} was refused: {reason}")


def find_state_dict(loaded: object, file: object) -> dict[str, Tensor]:
    """Find the named tensors in what a checkpoint holds, however it nests them.

    Args:
        loaded: a state dict, or a mapping that holds one under one of ``NESTING_KEYS`` beside anything else, or under
            any other key where it is the only one there.
        file: named in errors.

    Raises:
        ModelError: there is no state dict, more than one, or something in it is not a tensor.
        UnsafeInputError: a name or a tensor is not plain.
    """
    for _ in range(MAX_NESTING):
        if not isinstance(loaded, dict):
            break
        # dict's own methods: an unpickled subclass may carry attributes of the same names.
        nested = [key for key in NESTING_KEYS if isinstance(dict.get(loaded, key), dict)]
        # Training code names it as it likes: {'net': ..., 'epoch': 3}.
        nested = nested or [key for key, value in dict.items(loaded) if _is_state_dict(value)]
        if len(nested) > 1:
            named = " and ".join(plain(key) for key in nested)
            raise ModelError(f"{shown(file)} holds weights under {named}; save only the ones to audit")
        if not nested:
            break
        loaded = dict.get(loaded, nested[0])
    return _checked(loaded, file)


def _is_state_dict(value: object) -> bool:
    # dict's own methods, and no subclass of Tensor asked: see above and in _unsound.
    return isinstance(value, dict) and len(value) > 0 and all(isinstance(t, Tensor) for t in dict.values(value))


def _checked(loaded: object, file: object) -> dict[str, Tensor]:
    if not isinstance(loaded, dict) or not loaded:
        what = "an empty one" if isinstance(loaded, dict) else f"a {type(loaded).__name__}"
        raise ModelError(f"{shown(file)} should hold a state dict but holds {what}; save model.state_dict() in it")
    for name, value in dict.items(loaded):
        if not isinstance(value, Tensor):
            raise ModelError(
                f"{shown(file)} holds a {type(value).__name__} under '{plain(name)}' among its weights; "
                "save the weights alone, or the rest beside them: {'state_dict': model.state_dict(), ...}"
            )
        check_name(name, file)
        check_tensor(name, value, file)
    return strip_wrappers({name: value.detach() for name, value in dict.items(loaded)})


def check_name(name: object, file: object) -> None:
    """Refuse a parameter name that is not short and plain: it goes into messages, tables and the report."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise refused(
            file,
            f"'{plain(name)}' is no plain parameter name (up to 256 letters, digits and _.:/+-); rename it",
        )


def check_tensor(name: str, tensor: Tensor, file: object) -> None:
    """Refuse anything but a dense CPU tensor that owns its elements, and NaN or infinite weights."""
    # First, since looking for NaN touches elements that an unsound tensor does not have.
    reason = _unsound(tensor)
    if reason is not None:
        raise refused(file, f"tensor '{plain(name)}' {reason}; save dense CPU tensors, each with storage of its own")
    if not is_finite(tensor):
        raise ModelError(
            f"{shown(file)} holds NaN or infinite values in '{plain(name)}'; "
            "the training that made it diverged or the file is damaged, so use a sound checkpoint"
        )


def _unsound(tensor: Tensor) -> str | None:
    # Not isinstance: a subclass could answer the questions below as it likes.
    if type(tensor) not in (Tensor, nn.Parameter):
        return f"is a {type(tensor).__name__}, not a plain tensor"
    if tensor.layout != torch.strided:
        return f"is sparse ({tensor.layout})"
    if tensor.is_nested or tensor.is_quantized:
        return "is nested" if tensor.is_nested else "is quantised"
    if tensor.device.type != "cpu":
        return f"is on the {tensor.device.type} device and has no values here"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"claims {tensor.numel()} elements over a storage of {tensor.untyped_storage().nbytes()} bytes"
    return None if _is_sane(tensor.shape) else f"has the impossible shape {plain(list(tensor.shape))}"


def _is_sane(shape: Sequence[int]) -> bool:
    """Whether a shape is small enough for its products to be computed, empty dimensions apart."""
    return len(shape) <= 16 and math.prod(max(1, size) for size in shape) <= MAX_ELEMENTS


def is_finite(tensor: Tensor) -> bool:
    """Whether no element is NaN or infinite; in chunks, so that memory stays at that of the tensor."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    # torch has no isfinite for some types of eight bits.
    if tensor.element_size() == 1:
        tensor = tensor.float()
    return all(bool(torch.isfinite(chunk).all()) for chunk in torch.split(tensor.reshape(-1), _FINITE_CHUNK))


def strip_wrappers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off the ``module.`` that data-parallel training puts before every name."""
    names = list(tensors)
    while all(name.startswith("module.") and name != "module." for name in names):
        names = [name.removeprefix("module.") for name in names]
    return dict(zip(names, tensors.values(), strict=True))


def read_safetensors(data: bytes, file: object) -> dict[str, Tensor]:
    """Named tensors from the bytes of a safetensors file, every claim in its header checked first.

    Raises:
        ModelError: the file is cut short, damaged, empty of tensors, or holds NaN.
        UnsafeInputError: the header's sizes do not add up, or a name or shape is not plain.
    """
    check_safetensors(data, file)
    return _read(lambda: safetensors.torch.load(data), file)


def map_safetensors(path: Path) -> dict[str, Tensor]:
    """Named tensors of a safetensors file whose header was checked, each backed by the file's pages.

    Raises:
        ModelError: the file is damaged or holds NaN.
    """
    return _read(lambda: safetensors.torch.load_file(path), path)


def _read(load: Callable[[], dict[str, Tensor]], file: object) -> dict[str, Tensor]:
    try:
        tensors = load()
    except SafetensorError as error:
        raise ModelError(f"{shown(file)} is a damaged safetensors file ({plain(error)}); copy it again") from None
    # The library gives them in another order each time; what is written about them has to be the same.
    return _checked(dict(sorted(tensors.items())), file)


def check_safetensors(data: bytes | mmap, file: object) -> None:
    """Check a safetensors header: size, names, types, shapes, and that the tensors tile the rest."""
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise refused(
            file, f"its safetensors header claims {length} bytes, more than {MAX_HEADER_BYTES}; save it again"
        )
    if len(data) < 8 + length:
        raise ModelError(f"{shown(file)} is cut short: its header alone has {length} bytes; copy it again")
    header = _parse_header(data[8 : 8 + length], file)
    end = 0
    for name, (begin, stop) in sorted(header.items(), key=lambda item: item[1]):
        # A gap could hold what no tensor shows; in an overlap one tensor's bytes are another's.
        if begin != end:
            raise refused(file, f"the bytes of tensor '{plain(name)}' overlap others or leave a gap; save it again")
        end = stop
    if 8 + length + end > len(data):
        raise ModelError(f"{shown(file)} is cut short: {len(data)} bytes of {8 + length + end}; copy it again")
    if 8 + length + end < len(data):
        raise refused(file, f"{len(data) - 8 - length - end} bytes follow its last tensor; save it again")


def _parse_header(text: bytes, file: object) -> dict[str, tuple[int, int]]:
    """Byte ranges by tensor name."""
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
        if not isinstance(header, dict):
            raise ValueError("it is not an object")
        # Free text beside the tensors, which nothing here reads.
        header.pop("__metadata__", None)
        return {name: _byte_range(name, entry, file) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise refused(file, f"its safetensors header is malformed ({plain(error)}); save it again") from None


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    # json keeps the last of two equal names; another reader may keep the first.
    if len(entries) < len(pairs):
        raise ValueError("a name stands in it twice")
    return entries


# A stranger's JSON, still unchecked: what is not of this form raises TypeError or KeyError, which the refusal quotes.
def _byte_range(name: str, entry: Mapping[str, Any], file: object) -> tuple[int, int]:
    check_name(name, file)
    shape, (begin, stop) = entry["shape"], entry["data_offsets"]
    # Not isinstance: true and false would pass for numbers.
    if any(type(number) is not int or number < 0 for number in (begin, stop, *shape)):
        raise ValueError("a size is not a whole number")
    if entry["dtype"] not in _ITEM_BYTES:
        raise ValueError(f"element type {entry['dtype']}")
    if not _is_sane(shape):
        raise refused(file, f"tensor '{plain(name)}' has the impossible shape {plain(shape)}; save it again")
    if stop - begin != math.prod(shape) * _ITEM_BYTES[entry["dtype"]]:
        raise refused(file, f"the shape of tensor '{plain(name)}' does not match its bytes; save it again")
    return begin, stop
