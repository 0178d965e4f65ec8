"""What every audit reads again and no test changes is read once in a test run: sources of classes."""

import inspect
from collections.abc import Iterator
from functools import cache

import pytest


@pytest.fixture(scope="session", autouse=True)
def _read_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspect, "getsource", cache(inspect.getsource))
        yield
