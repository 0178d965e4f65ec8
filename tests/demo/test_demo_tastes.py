"""The demo of a recommender as a user runs it: known truth, no network."""

from pathlib import Path

import pytest

from tests.demo_runs import a_reviewer_can_check_it, made_without_network


@pytest.mark.slow
@pytest.mark.demos
@pytest.mark.timeout(1800)
def test_the_demo_of_a_recommender_end_to_end(tmp_path: Path) -> None:
    demo = made_without_network(tmp_path, "recommender")
    a_reviewer_can_check_it(demo, tmp_path / "inbox")
