"""Example sets from files: NumPy archives, image folders (also inside a zip), and the user's own datasets."""

import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from auditor import plugins
from auditor.errors import DataError, SpecError, near_paths
from auditor.loading.architecture import load_function
from auditor.loading.preprocessing import Preprocessing
from auditor.loading.tensors import plain, shown
from auditor.sources import split_source
from auditor.tasks.classification.readers.image_folders import UNREADABLE_ZIP, check_unpacked, read_image_folder
from auditor.tasks.classification.sets import Examples

READERS = "unlearning_auditor.image_readers"
"""Entry-point group of what reads files of images, named after the suffix."""
Reader = Callable[[Path, str], tuple[np.ndarray, np.ndarray]]
"""From a path, and the part inside it that is asked for or an empty string, to images and labels: images uint8, or
float scaled to [0, 1], [n, h, w], [n, h, w, c], [n, c, h, w] or [n, features]; labels whole numbers [n].
It runs no code out of the file, and says with a DataError what is wrong with it."""
_ARRAY_NAMES = (("images", "labels"), ("x", "y"))
_CHANNELS = (1, 3)
_GROUPS = "groups"


def read_examples(
    source: str, base_dir: Path, preprocessing: Preprocessing, class_names: Sequence[str] | None = None
) -> Examples:
    """Read an example set.

    Args:
        source: a ``.npz`` file with arrays ``images`` and ``labels``, or ``x`` and ``y`` (``file.npz:train``
            for ``x_train`` and ``y_train``), and ``groups`` where examples belong together; a ``.csv`` or
            ``.parquet`` file with a column ``label`` (``file.csv[digit]`` for one called ``digit``); a folder
            ``CLASS/*.png`` or ``*.jpg``; ``images.zip``, or ``images.zip:train`` for a folder inside it; or
            ``module.py:function`` returning a torch Dataset.
        base_dir: folder that relative paths start from.
        preprocessing: applied when a batch is asked for; its ``resize`` also unites images of several sizes.
        class_names: class folders in the order of their labels; by default the folders present, in order of
            name, or, where all names are whole numbers, those numbers.

    Raises:
        DataError: missing, unreadable, empty, or not images with whole-number labels.
        UnsafeInputError: unpacking it would exhaust the machine.
        SpecError: ``module.py:function`` names no function.
    """
    location, part = split_source(source, base_dir)
    if location.endswith(".py"):
        # The user's own code, named in the request: it is run without a sandbox (docs/security.md).
        dataset = load_function(source, base_dir, "dataset", DataError).call()
        return examples_of_dataset(dataset, source, preprocessing)
    path = base_dir / location
    if not path.exists():
        raise DataError(f"{shown(source)} does not exist in {shown(base_dir)}{near_paths(location, base_dir)}")
    if path.is_dir() or path.suffix == ".zip":
        images, labels = read_image_folder(path, part, preprocessing.resize, class_names)
    else:
        images, labels = _reader_of(path)(path, part)
    groups = _read_groups(path, part) if path.suffix == ".npz" else None
    return _examples(images, labels, path, preprocessing, groups)


def reads_images(source: str, base_dir: Path) -> bool:
    """Whether a source is one of :func:`read_examples`: code, a folder, or a file of a suffix of images."""
    location, _ = split_source(source, base_dir)
    suffix = Path(location).suffix.removeprefix(".").lower()
    known = {"py", "zip", *(entry.name for entry in plugins.registered(READERS))}
    return suffix in known or (base_dir / location).is_dir()


def write_examples(examples: Examples, path: Path) -> None:
    """Write a set as the ``.npz`` that :func:`read_examples` reads, without any preprocessing."""
    images, labels = examples.raw.numpy(), examples.labels.numpy()
    if examples.groups is None:
        np.savez(path, images=images, labels=labels)
    else:
        np.savez(path, images=images, labels=labels, groups=examples.groups.numpy())


def _reader_of(path: Path) -> "Reader":
    """What reads files of a suffix.

    Raises:
        DataError: no installed package reads them.
        SpecError: two packages do, or the one that does cannot be loaded.
    """
    suffix = path.suffix.removeprefix(".").lower()
    known = [entry.name for entry in plugins.registered(READERS)]
    if suffix not in known:
        kinds = " or ".join(f".{name}" for name in known)
        raise DataError(f"{shown(path)} is no {kinds} file, folder, .zip file or module.py:function; give one of these")
    entry = plugins.named(READERS, suffix, "reader")
    found = plugins.loaded(entry, "reader")
    if not callable(found):
        raise SpecError(f"the reader of .{suffix} files is no function; fix or uninstall its package")

    def read(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
        with plugins.faults_of(entry, "reader", path):
            return cast(Reader, found)(path, part)

    return read


def examples_of_dataset(dataset: object, name: str, preprocessing: Preprocessing) -> Examples:
    """Collect a map-style torch Dataset of (image, label) items.

    Args:
        dataset: has a length and items (image, label); images are tensors, arrays or PIL images.
        name: named in errors.
        preprocessing: applied when a batch is asked for.
    """
    # Without a length a dataset may never end.
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise DataError(f"{shown(name)} gave a {type(dataset).__name__}; it should give a torch Dataset with a length")
    images, labels = [], []
    for i in range(len(dataset)):
        item = dataset[i]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"{shown(name)}: item {i} is not a pair; every item should be (image, label)")
        images.append(_as_array(item[0]))
        labels.append(np.asarray(item[1]))
    _check_not_empty(len(images), name)
    for what, arrays in (("image", images), ("label", labels)):
        # Item 0 has its own shape, so that 0 stands for none.
        odd = next((j for j, array in enumerate(arrays) if array.shape != arrays[0].shape), 0)
        if odd:
            raise DataError(
                f"{shown(name)}: {what} {odd} has shape {arrays[odd].shape}, the first {arrays[0].shape}; "
                "let the dataset return items of one shape"
            )
    return _examples(np.stack(images), np.stack(labels), name, preprocessing)


def _as_array(image: object) -> np.ndarray:
    return image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)


def _examples(
    images: np.ndarray,
    labels: np.ndarray,
    name: object,
    preprocessing: Preprocessing,
    groups: np.ndarray | None = None,
) -> Examples:
    """Check and normalise arrays of images and labels."""
    _check_not_empty(len(images), name)
    return Examples(
        raw=_as_channels_first(_as_pixels(images, name), name),
        labels=_as_labels(labels, len(images), name),
        preprocessing=preprocessing,
        groups=None if groups is None else _as_groups(groups, len(images), name),
    )


def _check_not_empty(count: int, name: object) -> None:
    if count == 0:
        raise DataError(f"{shown(name)} holds no examples; supply at least one")


def _as_labels(labels: np.ndarray, count: int, name: object) -> Tensor:
    # A column of labels, as Keras gives those of CIFAR.
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,):
        raise DataError(f"{shown(name)}: labels have shape {labels.shape} for {count} images; give one label per image")
    if labels.dtype.kind not in "iu":
        raise DataError(f"{shown(name)}: labels are {labels.dtype}; give whole numbers, such as labels.astype('int64')")
    if labels.min() < 0 or labels.max() > np.iinfo(np.int64).max:
        raise DataError(f"{shown(name)}: label {labels.min()} is negative or too large; number classes from 0")
    return torch.from_numpy(labels.astype(np.int64))


def _as_groups(groups: np.ndarray, count: int, name: object) -> Tensor:
    if groups.shape != (count,) or groups.dtype.kind not in "iu":
        raise DataError(
            f"{shown(name)}: groups are {groups.dtype} of shape {groups.shape} for {count} images; give one whole "
            "number per image, equal where images belong together"
        )
    return torch.from_numpy(groups.astype(np.int64))


def _as_pixels(images: np.ndarray, name: object) -> Tensor:
    """uint8 as it is, any float as finite float32."""
    if images.dtype == np.uint8:
        # Scaled to [0, 1] only in preprocessing, batch by batch: bytes take a quarter of the memory.
        return torch.from_numpy(np.ascontiguousarray(images))
    if images.dtype.kind != "f":
        raise DataError(
            f"{shown(name)}: images are {images.dtype}; store pixels as uint8, or scaled to 0..1 as float32"
        )
    # What float32 cannot hold becomes infinite and is refused below, in words and not by NumPy's warning.
    with np.errstate(over="ignore"):
        pixels = np.ascontiguousarray(images, dtype=np.float32)
    finite = np.isfinite(pixels).reshape(len(pixels), -1).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{shown(name)}: image {int(finite.argmin())} holds NaN or infinite values; repair or remove it"
        )
    return torch.from_numpy(pixels)


def _as_channels_first(images: Tensor, name: object) -> Tensor:
    """[n, h, w] and [n, h, w, 1 or 3] as [n, c, h, w]; [n, c, h, w] and [n, features] as they are."""
    if images.ndim < 2 or images.numel() == 0:
        raise DataError(
            f"{shown(name)}: images have shape {list(images.shape)}; give [n, height, width], "
            "[n, height, width, channels] or [n, channels, height, width]"
        )
    if images.ndim == 3:
        return images[:, None]
    # Where both readings are possible it is torch's.
    if images.ndim == 4 and images.shape[1] not in _CHANNELS and images.shape[3] in _CHANNELS:
        return images.permute(0, 3, 1, 2).contiguous()
    return images


def read_npz(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Arrays ``images`` and ``labels``, or ``x`` and ``y``, of a NumPy archive.

    Raises:
        DataError: damaged, or without such arrays.
        UnsafeInputError: unpacking it would exhaust the machine.
    """
    suffix = f"_{part}" if part else ""
    try:
        # As the zip file that it is: np.load would trust a header before its claim is held against the entry's size.
        with zipfile.ZipFile(path) as archive:
            present = {name.removesuffix(".npy"): name for name in archive.namelist()}
            pairs = [(f"{x}{suffix}", f"{y}{suffix}") for x, y in _ARRAY_NAMES]
            found = next((pair for pair in pairs if set(pair) <= set(present)), None)
            if found is None:
                raise DataError(
                    f"{shown(path)} holds the arrays {plain(', '.join(sorted(present)))}; "
                    f"it should hold {' or '.join(f'{x} and {y}' for x, y in pairs)}"
                )
            images, labels = (read_array(archive, present[name], path) for name in found)
    except UNREADABLE_ZIP as error:
        raise DataError(f"{shown(path)} is no readable .npz file ({plain(error)}); save it again") from None
    return images, labels


def _read_groups(path: Path, part: str) -> np.ndarray | None:
    """The array ``groups`` of an archive that was read already; None where it has none."""
    name = f"{_GROUPS}_{part}.npy" if part else f"{_GROUPS}.npy"
    with zipfile.ZipFile(path) as archive:
        return read_array(archive, name, path) if name in archive.namelist() else None


def read_array(archive: zipfile.ZipFile, member: str, path: Path) -> np.ndarray:
    """One array, its header's claim compared with the size of the entry before memory is given to it."""
    info = archive.getinfo(member)
    check_unpacked(info.file_size, path)
    try:
        with archive.open(info) as file:
            shape, dtype = _npy_header(file)
            if dtype.hasobject:
                raise DataError(
                    f"{shown(path)}: the array {plain(member)} holds Python objects, which can run code when "
                    "opened; save it as numbers of one type"
                )
            # Python's whole numbers, since NumPy's would wrap around for a claim that is large enough.
            if file.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
                raise ValueError("its size does not match its header")
        # Opened again, as NumPy reads the header itself.
        with archive.open(info) as file:
            return np.asarray(npy.read_array(file, allow_pickle=False))
    # A header is a Python literal, so that a damaged one ends in any of these.
    except (ValueError, TypeError, SyntaxError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{shown(path)}: the array {plain(member)} is damaged ({plain(error)}); save the file again"
        ) from None


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(file)
    else:
        # 3.0 differs in the encoding of field names alone, and arrays with fields are refused as images or labels.
        shape, _, dtype = npy.read_array_header_2_0(file)
    return shape, dtype
