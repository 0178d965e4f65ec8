"""What every audit reads anew and no test changes is read once in a test run: sources of classes, entry points."""

import inspect
import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from typing import Any

import pytest

from auditor.checks import registry


def on_the_path() -> tuple[tuple[str, int], ...]:
    """Where distributions are looked for, and when each place last changed: tests install some of their own."""
    return tuple((place, os.stat(place).st_mtime_ns) for place in sys.path if os.path.isdir(place))


@cache
def _entry_points(places: tuple[tuple[str, int], ...], group: str) -> EntryPoints:
    return entry_points(group=group)


def installed(*, group: str) -> Any:
    """As ``importlib.metadata.entry_points``, which reads a file of every distribution each time."""
    return _entry_points(on_the_path(), group)


@pytest.fixture(scope="session", autouse=True)
def _read_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspect, "getsource", cache(inspect.getsource))
        patch.setattr("auditor.checks.registry.entry_points", installed)
        # Before audits are run in processes forked from this one.
        for group in registry.GROUPS.values():
            installed(group=group)
        yield
