"""The demo as a user runs it: known truth, no network, the same bytes anywhere."""

import os
from pathlib import Path

import pytest

from auditor.run import audit_folder
from tests.demo_runs import a_reviewer_can_check_it, made_without_network, run


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_end_to_end(tmp_path: Path) -> None:
    demo = made_without_network(tmp_path, "classification")
    _another_run_gives_the_same_bytes(demo, tmp_path)
    a_reviewer_can_check_it(demo, tmp_path / "inbox")


def _another_run_gives_the_same_bytes(demo: Path, folder: Path) -> None:
    """The whole demo once more, by other habits and in another folder; nothing is shared.

    Where it has been run so already, as `.ci/run` does, that is looked at: ELSEWHERE names the folder.
    """
    given = os.environ.get("ELSEWHERE")
    again = Path(given) if given else _run_elsewhere(folder / "somewhere" / "else")
    for audit in ("suppressed", "deleted"):
        for name in audit_folder.FILES:
            assert (again / audit / name).read_bytes() == (demo / audit / name).read_bytes(), name


def _run_elsewhere(folder: Path) -> Path:
    folder.mkdir(parents=True)
    finished = run(["demo", "--out", "again"], folder, umask=0o077, TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="7")
    assert finished.returncode == 0, finished.stderr
    return folder / "again"
