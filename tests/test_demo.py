"""The demo as a user runs it: known truth, no network, the same bytes anywhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from auditor import bundle
from auditor.results import read_results

BLOCK_SOCKETS = """
import socket

def refuse(*arguments, **options):
    raise OSError("this run has no network")

socket.socket.connect = refuse
socket.socket.connect_ex = refuse
socket.getaddrinfo = refuse
"""


def run(arguments: list[str], folder: Path, umask: int = 0o022, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "auditor", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        umask=umask,
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
    _another_run_gives_the_same_bytes(demo, tmp_path)
    _a_reviewer_can_check_it(demo, tmp_path / "inbox")


def _another_run_gives_the_same_bytes(demo: Path, folder: Path) -> None:
    """The whole demo once more: other folder, time zone, locale, umask and hash seed; nothing is shared."""
    other = folder / "somewhere" / "else"
    other.mkdir(parents=True)
    finished = run(["demo", "--out", "again"], other, umask=0o077, TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="7")
    assert finished.returncode == 0, finished.stderr
    for audit in ("suppressed", "deleted"):
        for name in bundle.FILES:
            assert (other / "again" / audit / name).read_bytes() == (demo / audit / name).read_bytes(), name


def _a_reviewer_can_check_it(demo: Path, inbox: Path) -> None:
    """As docs/review.md says, from a folder that holds nothing but the audit's output."""
    for audit in ("suppressed", "deleted"):
        shutil.copytree(demo / audit, inbox / audit)
    for audit in ("suppressed", "deleted"):
        assert run(["verify", audit], inbox).returncode == 0
    report = inbox / "deleted" / bundle.REPORT
    report.write_text(report.read_text(encoding="utf-8").replace("DELETED", "deleted"), encoding="utf-8")
    forged = run(["verify", "deleted"], inbox)
    assert (forged.returncode, forged.stdout.splitlines()[-1]) == (1, "Does not hold: report.html")
