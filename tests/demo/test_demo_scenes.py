"""The demo of models that answer questions about pictures."""

from pathlib import Path

import pytest

from auditor.demo.run import tasks, world_of
from auditor.demo.scenes import ScenesDemo
from auditor.records.spec import make_spec, read_spec
from tests.demo_runs import a_reviewer_can_check_it, made_without_network


@pytest.mark.slow
@pytest.mark.demos
@pytest.mark.timeout(1800)
def test_the_demo_end_to_end(tmp_path: Path) -> None:
    a_reviewer_can_check_it(made_without_network(tmp_path, "vision-language"), tmp_path / "inbox")


def test_its_request_and_sets_can_be_read(tmp_path: Path) -> None:
    assert "vision-language" in tasks()
    world = world_of("vision-language", 0)
    assert isinstance(world, ScenesDemo)
    world.write_inputs(tmp_path, "epochs = 1\n")
    spec = make_spec(read_spec(tmp_path / "audit.toml"), {})
    assert spec.declared_task == "vision-language"
    assert all((tmp_path / f"{name}.npz").is_file() for name in ("forget", "retain", "retain_test", "holdout"))
    # No picture of what is trained on stands among those that are not.
    forget, holdout = (set(part.content_hashes) for part in (world.world.forget, world.world.holdout))
    assert not forget & holdout
