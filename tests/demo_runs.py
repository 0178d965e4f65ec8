"""A demo as a user runs it, and its results as a reviewer receives them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from auditor.demo.run import world_of
from auditor.records.results import read_results
from auditor.run import audit_folder

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


def made_without_network(folder: Path, task: str, *options: str) -> Path:
    """The demo's folder, made with all sockets blocked, both verdicts as they should be."""
    blocker = folder / "blocker"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(BLOCK_SOCKETS)
    demo = folder / "demo"
    finished = run(["demo", "--task", task, *options, "--out", str(demo)], folder, PYTHONPATH=str(blocker))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for name, outcome in world_of(task, 0).expected.items():
        results = read_results(demo / name / "results.json")
        assert results.verdict.outcome == outcome
        assert results.coverage.complete
        assert (demo / name / "report.html").stat().st_size < 1_000_000
        assert outcome in finished.stdout
    return demo


def a_reviewer_can_check_it(demo: Path, inbox: Path) -> None:
    """As docs/review.md says, from a folder that holds nothing but the audit's output."""
    for audit in ("suppressed", "deleted"):
        shutil.copytree(demo / audit, inbox / audit)
    for audit in ("suppressed", "deleted"):
        assert run(["verify", audit], inbox).returncode == 0
    report = inbox / "deleted" / audit_folder.REPORT
    report.write_text(report.read_text(encoding="utf-8").replace("audit", "audlt"), encoding="utf-8")
    forged = run(["verify", "deleted"], inbox)
    assert (forged.returncode, forged.stdout.splitlines()[-1]) == (1, "Does not hold: report.html")
