"""The demo as a user runs it: known truth, no network, the same bytes anywhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.results import read_results

BLOCK_SOCKETS = """
import socket

def refuse(*arguments, **options):
    raise OSError("this run has no network")

socket.socket.connect = refuse
socket.socket.connect_ex = refuse
socket.getaddrinfo = refuse
"""


def run(arguments: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "auditor", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_demo_end_to_end(tmp_path: Path) -> None:
    blocker = tmp_path / "blocker"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(BLOCK_SOCKETS)
    demo = tmp_path / "demo"
    finished = run(["demo", "--out", str(demo)], tmp_path, PYTHONPATH=str(blocker))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for name, outcome in (("suppressed", "SUPPRESSED"), ("deleted", "DELETED")):
        results = read_results(demo / name / "results.json")
        assert results.verdict.outcome == outcome
        assert results.coverage.complete
        assert (demo / name / "report.html").stat().st_size < 2_000_000
        assert outcome in finished.stdout
    _the_same_bytes_elsewhere(demo, tmp_path / "elsewhere")


def _the_same_bytes_elsewhere(demo: Path, other: Path) -> None:
    """The same command in another folder, time zone, locale and hash seed, without the stored scores."""
    shutil.copytree(demo, other, ignore=shutil.ignore_patterns(".audit", "suppressed", "deleted"))
    arguments = ["compare", "original.pt", "deleted.pt", "--expect", "deleted", "--out", "deleted", "--quiet"]
    finished = run(arguments, other, TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="7")
    assert finished.returncode == 0, finished.stderr
    for name in ("results.json", "report.html", "plan.json"):
        assert (other / "deleted" / name).read_bytes() == (demo / "deleted" / name).read_bytes(), name
