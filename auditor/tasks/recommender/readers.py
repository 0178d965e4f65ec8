"""Interactions of a file: an ``.npz``, or a table such as RecBole's atomic ``.inter`` files."""

import csv
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditor.errors import DataError
from auditor.loading.tensors import plain, shown
from auditor.tasks.classification.readers.files import read_array
from auditor.tasks.classification.readers.image_folders import UNREADABLE_ZIP

Pairs = NDArray[np.int64]
_SEPARATORS = {".inter": "\t", ".tsv": "\t", ".csv": ","}
_USERS, _ITEMS = "user_id", "item_id"


def read_interactions(path: Path) -> tuple[Pairs, Pairs]:
    """Users with items [n, 2], and the items again [n, 1].

    Args:
        path: an ``.npz`` with ``inputs`` (a user and an item in each row) or with ``users`` and ``items``; or a table
            with columns ``user_id`` and ``item_id``, whose names may carry a type behind a colon as RecBole's do,
            parted by tabs (``.inter``, ``.tsv``) or commas (``.csv``). Further columns are not read.

    Raises:
        DataError: another kind of file, an unreadable one, a missing column, an empty one, or ids that are no row
            numbers.
    """
    if path.suffix == ".npz":
        pairs = _from_npz(path)
    elif path.suffix in _SEPARATORS:
        pairs = _from_table(path)
    else:
        raise DataError(
            f"{shown(str(path))} is no file of interactions; give an .npz, .inter, .tsv or .csv (docs/recommender.md)"
        )
    if len(pairs) == 0:
        raise DataError(f"{shown(str(path))} holds no interactions; supply at least one")
    return pairs, pairs[:, 1:].copy()


def write_inter(pairs: Pairs, path: Path) -> None:
    """Write interactions [n, 2] as RecBole's atomic file."""
    lines = [f"{_USERS}:token\t{_ITEMS}:token", *(f"{user}\t{item}" for user, item in pairs.tolist())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _from_npz(path: Path) -> Pairs:
    try:
        with zipfile.ZipFile(path) as archive:
            present = {name.removesuffix(".npy"): name for name in archive.namelist()}
            if {"users", "items"} <= set(present):
                columns = [read_array(archive, present[name], path).reshape(-1) for name in ("users", "items")]
                if len(columns[0]) != len(columns[1]):
                    raise DataError(
                        f"{shown(str(path))} holds {len(columns[0])} users and {len(columns[1])} items; "
                        "give one of each for every interaction"
                    )
                return _row_numbers(np.stack(columns, axis=1), path)
            if "inputs" in present:
                return _row_numbers(read_array(archive, present["inputs"], path), path)
    except UNREADABLE_ZIP as error:
        raise DataError(f"{shown(str(path))} is no readable .npz file ({plain(error)}); save it again") from None
    raise DataError(
        f"{shown(str(path))} holds the arrays {plain(', '.join(sorted(present)))}; it should hold users and items"
    )


def _from_table(path: Path) -> Pairs:
    try:
        table = pd.read_csv(path, sep=_SEPARATORS[path.suffix], dtype=str, quoting=csv.QUOTE_MINIMAL)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{shown(str(path))} is no readable table ({plain(error)}); save it again") from None
    # RecBole writes a type behind each name: user_id:token.
    table.columns = [str(name).partition(":")[0].strip() for name in table.columns]
    missing = [name for name in (_USERS, _ITEMS) if name not in table.columns]
    if missing:
        raise DataError(
            f"{shown(str(path))} has the columns {plain(', '.join(table.columns))}; "
            f"it should have {_USERS} and {_ITEMS}"
        )
    twice = [name for name in (_USERS, _ITEMS) if list(table.columns).count(name) > 1]
    if twice:
        raise DataError(f"{shown(str(path))} has two columns called {twice[0]}; leave one")
    ids = table[[_USERS, _ITEMS]].to_numpy()
    if len(ids) == 0:
        return np.zeros((0, 2), dtype=np.int64)
    try:
        return _row_numbers(ids.astype(np.int64), path)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"{shown(str(path))}: {_USERS} and {_ITEMS} have to be whole numbers, the rows of the network's tables; "
            "number users and items as the network does"
        ) from None


def _row_numbers(ids: np.ndarray, path: Path) -> Pairs:
    if ids.ndim != 2 or ids.shape[1] != 2 or ids.dtype.kind not in "iu":
        raise DataError(
            f"{shown(str(path))}: interactions are {ids.dtype} of shape {list(ids.shape)}; give whole numbers, a user "
            "and an item in each row"
        )
    if len(ids) and ids.min() < 0:
        raise DataError(f"{shown(str(path))}: the id {int(ids.min())} is below 0; number users and items from 0")
    return np.ascontiguousarray(ids, dtype=np.int64)
