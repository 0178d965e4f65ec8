"""The demo of diffusion models as a user runs it."""

from pathlib import Path

import pytest

from tests.demo_runs import made_without_network


@pytest.mark.slow
@pytest.mark.demos
@pytest.mark.timeout(3600)
def test_the_demo_of_diffusion_models_ends_as_it_should(tmp_path: Path) -> None:
    made_without_network(tmp_path, "diffusion")
