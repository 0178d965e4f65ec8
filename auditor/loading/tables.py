"""Tables out of CSV and Parquet files. No code, no object and no address in a file is followed."""

import importlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from auditor.errors import DataError, UnsafeInputError, UsageError
from auditor.loading.tensors import plain, shown

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 10**7
_ROWS_AT_A_TIME = 256


def read_csv(path: Path, *, as_text: bool) -> "pd.DataFrame":
    """A CSV file whose first line names the columns.

    Args:
        path: of the file, UTF-8.
        as_text: every cell as it stands, empty ones as empty text; else numbers where a column holds numbers alone.

    Raises:
        DataError: no table, or not UTF-8.
    """
    import pandas as pd

    kind = str if as_text else None
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            # A row of more cells than there are names is an error, and never the index of the others.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(file, encoding="utf-8-sig", index_col=False, dtype=kind, na_filter=not as_text)
    except UnicodeDecodeError:
        raise DataError(f"{shown(path)} is not UTF-8 text; save it as CSV in UTF-8") from None
    except (ValueError, pd.errors.ParserWarning, OverflowError) as error:
        reason = plain(" ".join(str(error).split()), 150)
        raise DataError(
            f"{shown(path)} is no CSV table ({reason}); save it with the names of its columns first"
        ) from None


# Any: record batches of pyarrow, which comes without types.
def read_parquet(path: Path, limit: int) -> Iterator[Any]:
    """The record batches of a Parquet file, one after the other.

    Args:
        path: of the file.
        limit: bytes that its data may take unpacked.

    Raises:
        DataError: damaged, or no Parquet file.
        UnsafeInputError: it unpacks to more than the limit.
        UsageError: pyarrow is not installed.
    """
    parquet = _pyarrow(path)
    arrow = importlib.import_module("pyarrow")
    n_bytes = n_rows = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_A_TIME):
                # Counted as it grows: what the file says of itself may be wrong.
                n_bytes, n_rows = n_bytes + batch.nbytes, n_rows + batch.num_rows
                if n_bytes > limit or n_rows > MAX_ROWS:
                    raise UnsafeInputError(
                        f"{shown(path)} was refused: it unpacks to more than {limit} bytes or {MAX_ROWS} rows; give a "
                        "smaller sample of it"
                    )
                yield batch
    except (arrow.lib.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{shown(path)} is no readable Parquet file ({plain(error, 150)}); write it again") from None


def _pyarrow(path: Path) -> ModuleType:
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UsageError(
            f"{shown(path)} is a Parquet file; to read it, pip install 'unlearning-auditor[parquet]'"
        ) from None


def named_columns(part: str) -> tuple[str, ...]:
    """The columns that a source names in brackets.

    >>> named_columns("[question,answer]"), named_columns("")
    (('question', 'answer'), ())
    """
    inside = part.removeprefix("[").removesuffix("]")
    return tuple(name.strip() for name in inside.split(",")) if inside else ()


def check_columns(wanted: Iterable[str], there: Sequence[str], where: object) -> None:
    """Raise where a column is missing.

    Raises:
        DataError: naming the file, the column, and the columns there are.
    """
    for name in wanted:
        if name not in there:
            raise DataError(
                f"{shown(where)} has no column {plain(name)!r}; it has {plain(', '.join(map(str, there)), 200)}: "
                "rename it, or name the columns in brackets behind the file"
            )
