"""Images in class folders, on disk or inside a zip file, which is read in place and never extracted."""

import io
import lzma
import math
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from auditor.errors import DataError, UnsafeInputError
from auditor.loading.preprocessing import Preprocessing
from auditor.loading.tensors import plain, shown

MAX_DATA_BYTES = 8 * 2**30
MAX_IMAGE_FILE_BYTES = 64 * 2**20
# What a damaged archive raises, whichever way its entries are compressed.
UNREADABLE_ZIP = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(OSError, EOFError, ValueError, OverflowError, RuntimeError),
)
_Pixels = NDArray[np.uint8] | NDArray[np.float32]
_SUFFIXES = (".png", ".jpg", ".jpeg")


def check_unpacked(total: int, path: Path) -> None:
    """Refuse an archive whose content would take more than ``MAX_DATA_BYTES`` of memory."""
    if total > MAX_DATA_BYTES:
        raise UnsafeInputError(
            f"{shown(path)} was refused: its data unpack to {total} bytes, over {MAX_DATA_BYTES}; give a smaller set"
        )


class SeveralSizes(DataError):
    """Images of one set have several sizes, and nobody said which the model takes."""


def class_folders(path: Path, part: str) -> list[str]:
    """Names of the class folders, sorted, without reading an image; see :func:`read_image_folder`."""
    with ExitStack() as stack:
        return sorted({file.class_name for file in _list_images(path, part, stack)})


@dataclass(frozen=True, slots=True)
class _ImageFile:
    """An image not yet read: its class folder, its name for messages, and how to read its bytes."""

    class_name: str
    name: str
    read: Callable[[], bytes]


def read_image_folder(
    path: Path, part: str, resize: tuple[int, int] | None, class_names: Sequence[str] | None
) -> tuple[_Pixels, NDArray[np.int64]]:
    """Read ``CLASS/*.png`` and ``CLASS/*.jpg``.

    Args:
        path: a folder or a zip file.
        part: folder inside it that holds the class folders; empty for the top.
        resize: (height, width) to which images of several sizes are brought.
        class_names: class folders in the order of their labels; None numbers those present.

    Returns:
        Pixels, uint8 [n, h, w, c], or float32 [n, c, h, w] where sizes differ; labels, int64 [n].
    """
    with ExitStack() as stack:
        files = _list_images(path, part, stack)
        labels = _number_classes([file.class_name for file in files], class_names, path)
        return _unite(_decode_all(files, path), resize, path), labels


def _list_images(path: Path, part: str, stack: ExitStack) -> list[_ImageFile]:
    """Images by class and name; a zip file stays open as long as the stack."""
    files = _list_folder(path / part) if path.is_dir() else _list_zip(path, part, stack)
    odd = next((file for file in files if not file.name.lower().endswith(_SUFFIXES)), None)
    if odd is not None:
        raise DataError(f"{shown(path)}: {plain(odd.name)} is neither .png nor .jpg; convert or remove it")
    # File systems list in orders of their own, and the digest of a set follows its order.
    return sorted(files, key=lambda file: (file.class_name, file.name))


def _list_folder(folder: Path) -> list[_ImageFile]:
    if not folder.is_dir():
        raise DataError(f"{shown(folder)} is not a folder; correct the path")
    files: list[_ImageFile] = []
    for class_folder in (entry for entry in folder.iterdir() if entry.is_dir() and not _is_hidden(entry.name)):
        found = [file for file in class_folder.iterdir() if not _is_hidden(file.name)]
        if not found:
            raise DataError(f"{shown(class_folder)} holds no images; fill it or remove it")
        files += [_ImageFile(class_folder.name, f"{class_folder.name}/{f.name}", f.read_bytes) for f in found]
    if not files:
        raise DataError(f"{shown(folder)} holds no CLASS/*.png or CLASS/*.jpg; give the folder above the classes")
    return files


def _is_hidden(name: str) -> bool:
    # What macOS leaves in folders and zip files.
    return name.startswith(".") or name == "__MACOSX"


def _list_zip(path: Path, part: str, stack: ExitStack) -> list[_ImageFile]:
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except UNREADABLE_ZIP as error:
        raise DataError(f"{shown(path)} is no readable zip file ({plain(error)}); make it again") from None
    prefix = PurePosixPath(part).parts
    files, seen, deeper = [], set(), ""
    for info in archive.infolist():
        parts = PurePosixPath(info.filename).parts
        inside = parts[: len(prefix)] == prefix and len(parts) >= len(prefix) + 2
        if info.is_dir() or not inside or any(_is_hidden(name) for name in parts):
            continue
        if len(parts) > len(prefix) + 2:
            deeper = info.filename
            continue
        # Another program might read the other one.
        if info.filename in seen:
            raise DataError(f"{shown(path)}: {plain(info.filename)} stands in it twice; make the zip file again")
        seen.add(info.filename)
        files.append(_ImageFile(parts[-2], "/".join(parts[-2:]), _zip_reader(archive, info, path)))
    if not files:
        raise DataError(_nothing_in_zip(archive, path, part))
    if deeper:
        raise DataError(f"{shown(path)}: {plain(deeper)} lies deeper than CLASS/IMAGE; move or remove it")
    return files


def _nothing_in_zip(archive: zipfile.ZipFile, path: Path, part: str) -> str:
    folders = sorted({name.split("/")[0] for name in archive.namelist() if "/" in name})
    return (
        f"{shown(path)} holds no CLASS/*.png or *.jpg in {plain(part) or 'its top folder'}; its folders are "
        f"{plain(', '.join(folders)) or 'none'}: name the one above the classes, as in {path.name}:train"
    )


def _zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        # Asked before a byte is unpacked; zipfile gives no more than the directory states.
        if info.file_size > MAX_IMAGE_FILE_BYTES:
            raise UnsafeInputError(
                f"{shown(path)} was refused: {plain(info.filename)} unpacks to {info.file_size} bytes, "
                f"over {MAX_IMAGE_FILE_BYTES}; remove it"
            )
        return archive.read(info)

    return read


def _number_classes(names: Sequence[str], class_names: Sequence[str] | None, path: Path) -> NDArray[np.int64]:
    """Give each image the number of its class folder."""
    present = sorted(set(names))
    if class_names is not None:
        unknown = [name for name in present if name not in class_names]
        if unknown:
            raise DataError(f"{shown(path)}: the class {plain(unknown[0])} is not among the class names given")
        number = {name: i for i, name in enumerate(class_names)}
    # As numbers, since in order of text 10 stands before 2. Only ASCII digits and few of them: int takes those of every
    # script, and labels end at 64 bits.
    elif all(re.fullmatch(r"[0-9]{1,9}", name) for name in present):
        number = {name: int(name) for name in present}
    else:
        number = {name: i for i, name in enumerate(present)}
    return np.array([number[name] for name in names], dtype=np.int64)


def _decode_all(files: Sequence[_ImageFile], path: Path) -> list[NDArray[np.uint8]]:
    """Pixels of each image, uint8 [h, w, c], all gray or all in colour."""
    images: list[NDArray[np.uint8]] = []
    total = 0
    for file in files:
        images.append(decode(file.read, file.name, path))
        total += images[-1].nbytes
        # As it grows: many small files may unpack to more than memory holds.
        check_unpacked(total, path)
    if any(image.shape[2] == 3 for image in images):
        images = [np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image for image in images]
    return images


def _unite(images: list[NDArray[np.uint8]], resize: tuple[int, int] | None, path: Path) -> _Pixels:
    """One array, images of several sizes being resized exactly as :class:`Preprocessing` would."""
    sizes = {image.shape for image in images}
    if len(sizes) == 1:
        return np.stack(images)
    if resize is None:
        some = " and ".join(f"{h}x{w}" for h, w, _ in sorted(sizes)[:2])
        raise SeveralSizes(f"{shown(path)} holds images of {len(sizes)} sizes, {some} among them; set data.resize")
    # Resized images are float32, four bytes a number.
    check_unpacked(len(images) * math.prod(resize) * images[0].shape[2] * 4, path)
    bring = Preprocessing(resize=resize)
    return np.concatenate([bring(torch.from_numpy(image).permute(2, 0, 1)[None]).numpy() for image in images])


def decode(read: Callable[[], bytes], name: str, path: Path) -> NDArray[np.uint8]:
    """One image as uint8 [h, w, 1 or 3].

    Args:
        read: gives the bytes of a PNG or JPEG file.
        name: of the image, for messages.
        path: of the file or folder that it lies in.

    Raises:
        DataError: no PNG or JPEG, or damaged.
        UnsafeInputError: larger than an image should be.
    """
    try:
        with warnings.catch_warnings():
            # Pillow only warns of a decompression bomb up to twice its limit.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Pillow knows some forty formats, with the faults of a decoder in each; two are enough.
            with Image.open(io.BytesIO(read()), formats=("PNG", "JPEG")) as image:
                if image.mode.startswith(("I", "F")):
                    raise ValueError(f"its pixels have more than 8 bits (mode {image.mode})")
                pixels = np.array(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnsafeInputError(
            f"{shown(path)} was refused: {plain(name)} is too large an image ({plain(error)}); shrink it"
        ) from None
    except (
        UnidentifiedImageError,
        # Pillow's word for a broken PNG.
        SyntaxError,
        *UNREADABLE_ZIP,
    ) as error:
        reason = "no PNG or JPEG" if isinstance(error, UnidentifiedImageError) else plain(error)
        raise DataError(
            f"{shown(path)}: the image {plain(name)} cannot be read ({reason}); repair or remove it"
        ) from None
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
