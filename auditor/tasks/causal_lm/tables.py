"""Facts from CSV and Parquet files: one row each, under the names that the keys of JSON lines have."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from auditor.loading.tables import read_csv, read_parquet
from auditor.tasks.causal_lm.readers import LISTS, MAX_BYTES


def read_csv_rows(path: Path, source: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """The rows of a table, the one under the names being number 2. A cell of a list holds one text, or a JSON list.

    Raises:
        DataError: no CSV table in UTF-8.
    """
    for number, row in enumerate(read_csv(path, as_text=True).to_dict("records"), start=2):
        # An empty cell is how a table says that a fact has none.
        lists = {key: _listed(str(row[key])) for key in row.keys() & LISTS}
        yield number, {str(key): lists.get(key, value) for key, value in row.items()}


def _listed(cell: str) -> list[object]:
    if not cell:
        return []
    try:
        found = json.loads(cell) if cell.startswith("[") else None
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, list) else [cell]


def read_parquet_rows(path: Path, source: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """The rows of a table, numbered from 1; cells without a value are left out.

    Raises:
        DataError: damaged, or no Parquet file.
        UnsafeInputError: it unpacks to more than a set of facts may have.
        UsageError: pyarrow is not installed.
    """
    rows = (row for batch in read_parquet(path, MAX_BYTES) for row in batch.to_pylist())
    for number, row in enumerate(rows, start=1):
        yield number, {key: value for key, value in row.items() if value is not None}
