"""The demo of dual encoders as a user runs it."""

from pathlib import Path

import pytest

from tests.demo_runs import made_without_network


@pytest.mark.slow
@pytest.mark.demos
@pytest.mark.timeout(1800)
def test_the_demo_end_to_end(tmp_path: Path) -> None:
    made_without_network(tmp_path, "clip")
