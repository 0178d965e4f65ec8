"""One audit at a time in an output folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from auditor.errors import UsageError

LOCK = ".lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other audits out of a folder while the block runs. The lock dies with the process, however that ends.

    Args:
        folder: made if absent.

    Raises:
        UsageError: another audit is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout:
        raise UsageError(f"another audit is writing to {folder}; wait for it, or give another --out") from None
