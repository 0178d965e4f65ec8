"""Example sets out of tables: a column of labels beside columns of features, or beside encoded images."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from auditor.errors import DataError
from auditor.loading.tables import check_columns, named_columns, read_csv, read_parquet
from auditor.loading.tensors import plain, shown
from auditor.tasks.classification.readers.image_folders import (
    MAX_DATA_BYTES,
    check_unpacked,
    decode,
)

_LABEL = "label"
_IMAGES = ("image", "img")
# A number takes two characters with its comma, and four times as much in memory.
_GROWS = 4


def read_csv_examples(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of features, float32 [n, features] exactly as they stand, and labels.

    Args:
        path: of the file.
        part: ``[label]``, the name of the column of labels in brackets; empty for ``label``.

    Raises:
        DataError: no table, without that column, or with a column that is no number.
    """
    check_unpacked(path.stat().st_size * _GROWS, path)
    return _features(read_csv(path, as_text=False), (*named_columns(part), _LABEL)[0], path)


def read_parquet_examples(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of features as :func:`read_csv_examples`, or encoded images uint8 [n, h, w, c], and labels.

    Args:
        path: of the file.
        part: ``[label]`` or ``[image,label]``, names of columns in brackets; by default ``label``, and where there is a
            column ``image`` or ``img`` the images in it.

    Raises:
        DataError: damaged, without these columns, or images of several sizes.
        UnsafeInputError: unpacking it would exhaust the machine.
        UsageError: pyarrow is not installed.
    """
    batches = list(read_parquet(path, MAX_DATA_BYTES))
    if not batches:
        raise DataError(f"{shown(path)} holds no examples; supply at least one")
    there = list(batches[0].schema.names)
    *image, label = named_columns(part) or (*[name for name in _IMAGES if name in there][:1], _LABEL)
    check_columns((*image, label), there, path)
    if not image:
        # Without what a writer left for pandas: numbers are all that is wanted.
        frame = pd.concat([batch.to_pandas(ignore_metadata=True) for batch in batches])
        return _features(frame, label, path)
    labels = np.concatenate([batch.column(label).to_numpy(zero_copy_only=False) for batch in batches])
    return _pictures([cell for batch in batches for cell in batch.column(image[0]).to_pylist()], path), labels


def _features(frame: pd.DataFrame, label: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    check_columns([label], [str(name) for name in frame.columns], path)
    features = frame.drop(columns=label)
    odd = [name for name, kind in features.dtypes.items() if kind.kind not in "iufb"]
    # Of a table without rows pandas knows no types; that it is empty is said of every set alike.
    if len(frame) and (odd or not features.shape[1]):
        what = f"the column {plain(odd[0])!r} is not of numbers" if odd else "there are no columns of numbers"
        raise DataError(
            f"{shown(path)}: {what} beside {plain(label)!r}; leave features and the label alone in the table"
        )
    # Copies, since what pandas shows of itself cannot be written to.
    return features.to_numpy(dtype=np.float32, copy=True), frame[label].to_numpy(copy=True)


def _pictures(cells: list[object], path: Path) -> np.ndarray:
    pictures: list[np.ndarray] = []
    total = 0
    for row, cell in enumerate(cells):
        # As `datasets` writes images: the file's bytes, beside a path that is not followed.
        encoded = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(encoded, bytes):
            raise DataError(f"{shown(path)}: row {row} holds no encoded image; write the bytes of a PNG or JPEG file")
        pictures.append(decode(partial(bytes, encoded), f"in row {row}", path))
        total += pictures[-1].nbytes
        check_unpacked(total, path)
    shapes = sorted({picture.shape for picture in pictures})
    if len({shape[:2] for shape in shapes}) > 1:
        some = " and ".join(f"{h}x{w}" for h, w, _ in shapes[:2])
        raise DataError(f"{shown(path)} holds images of several sizes, {some} among them; bring them to one size")
    if len(shapes) > 1:
        pictures = [np.broadcast_to(picture, (*picture.shape[:2], 3)) for picture in pictures]
    return np.stack(pictures)
