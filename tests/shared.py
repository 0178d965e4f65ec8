"""Made once in a whole test run: whichever worker asks first makes it, the others read it from the run's folder."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

T = TypeVar("T")


def run_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run see, and no other run."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[], T]) -> T:
    """What ``make`` returns, which has to be the same whenever it is called, and to survive pickling.

    Args:
        factory: pytest's, of the whole session.
        name: of the file that it is kept in.
        make: takes long.
    """
    path = run_folder(factory) / f"{name}.pickle"
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            path.write_bytes(pickle.dumps(make()))
    # Its maker reads it too, so that every worker has the same object in hand.
    found: T = pickle.loads(path.read_bytes())
    return found


def folder_made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that ``make`` fills, for tests that read it and change only copies of it.

    Args:
        factory: pytest's, of the whole session.
        name: of the folder.
        make: is given its path, where nothing is yet.
    """
    path = run_folder(factory) / name
    done = path.with_suffix(".done")
    with FileLock(path.with_suffix(".lock")):
        if not done.exists():
            make(path)
            done.touch()
    return path
