"""Examples from an ``.npz``, from the user's own code, or from memory: arrays of any shape, checked."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from auditor.errors import DataError, near_paths
from auditor.loading.architecture import load_function
from auditor.loading.tensors import plain, shown
from auditor.sources import split_source
from auditor.tasks.classification.readers.files import read_array
from auditor.tasks.classification.readers.image_folders import UNREADABLE_ZIP
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.user_code import UserTask

_NAMES = (("inputs", "targets"), ("x", "y"))


def read_custom(source: object, name: str, base: Path, code: UserTask) -> CustomExamples:
    """Read one set.

    Args:
        source: a path to an ``.npz`` with arrays ``inputs`` and ``targets``, or ``x`` and ``y`` (``file.npz:train`` for
            ``inputs_train`` and ``targets_train``); ``module.py:function`` that returns a pair of arrays; a pair in
            memory; or, where the user's class has ``read``, any path.
        name: of the set, for messages.
        base: folder that relative paths start from.
        code: the user's class.

    Raises:
        DataError: missing, unreadable, empty, not finite, or of two lengths.
        UnsafeInputError: unpacking it would exhaust the machine.
    """
    if isinstance(source, CustomExamples):
        return source
    if isinstance(source, str | Path):
        inputs, targets = _from_path(str(source), base, code)
        return _examples(inputs, targets, shown(str(source)))
    if isinstance(source, tuple | list) and len(source) == 2:
        return _examples(source[0], source[1], name)
    raise DataError(f"{name}: a {type(source).__name__} is no set of examples; give (inputs, targets) or a path")


def write_custom(examples: CustomExamples, path: Path) -> None:
    """Write a set as the ``.npz`` that :func:`read_custom` reads."""
    np.savez(path, inputs=examples.inputs.numpy(), targets=examples.targets.numpy())


def _from_path(source: str, base: Path, code: UserTask) -> tuple[object, object]:
    location, part = split_source(source, base)
    if location.endswith(".py"):
        # The user's own code, named in the request (docs/security.md).
        found = load_function(source, base, "dataset", DataError).call()
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise DataError(f"{shown(source)} gave a {type(found).__name__}; return (inputs, targets)")
        return found[0], found[1]
    path = base / location
    if not path.exists():
        raise DataError(f"{shown(source)} does not exist in {shown(base)}{near_paths(location, base)}")
    if code.reads:
        return code.read(path)
    if path.suffix != ".npz":
        raise DataError(
            f"{shown(source)} is no .npz file; save inputs and targets as one, or add read(path) to {code.name}"
        )
    return _read_npz(path, part)


def _read_npz(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    suffix = f"_{part}" if part else ""
    try:
        with zipfile.ZipFile(path) as archive:
            present = {name.removesuffix(".npy"): name for name in archive.namelist()}
            pairs = [(f"{x}{suffix}", f"{y}{suffix}") for x, y in _NAMES]
            found = next((pair for pair in pairs if set(pair) <= set(present)), None)
            if found is None:
                raise DataError(
                    f"{shown(path)} holds the arrays {plain(', '.join(sorted(present)))}; "
                    f"it should hold {' or '.join(f'{x} and {y}' for x, y in pairs)}"
                )
            inputs, targets = (read_array(archive, present[name], path) for name in found)
    except UNREADABLE_ZIP as error:
        raise DataError(f"{shown(path)} is no readable .npz file ({plain(error)}); save it again") from None
    return inputs, targets


def _examples(inputs: object, targets: object, name: str) -> CustomExamples:
    x, y = _numbers(inputs, f"{name}: inputs"), _numbers(targets, f"{name}: targets")
    if len(x) != len(y):
        raise DataError(f"{name}: {len(x)} inputs and {len(y)} targets; give one target for each input")
    return CustomExamples(inputs=x, targets=y)


def _numbers(values: object, what: str) -> Tensor:
    """Floats as float32, whole numbers as int64, truth values as they are; [n, ...]."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim == 0 or array.dtype.kind not in "fiub":
        raise DataError(f"{what} are {array.dtype} of shape {list(array.shape)}; give numbers with a row per example")
    if array.size == 0:
        raise DataError(
            f"{what} have shape {list(array.shape)}, so that the set holds no examples; supply at least one"
        )
    if array.dtype.kind == "b":
        return torch.from_numpy(np.ascontiguousarray(array))
    if array.dtype.kind in "iu":
        return torch.from_numpy(np.ascontiguousarray(array.astype(np.int64)))
    # What float32 cannot hold becomes infinite and is refused below, in words and not by NumPy's warning.
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(numbers).reshape(len(numbers), -1).all(axis=1)
    if not finite.all():
        raise DataError(f"{what} hold NaN or infinite values in row {int(finite.argmin())}; repair or remove it")
    return torch.from_numpy(numbers)
