"""Units of work on a Ray cluster of two nodes, both on this machine."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from safetensors.torch import load_file
from torch import nn

import auditor
from auditor.cli import main
from auditor.errors import UsageError
from auditor.records.results import read_results
from tests.tiny_world import same_files

pytest.importorskip("ray", reason="the extra 'cluster' is not installed")
ONE = ("--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats", "--block")
SECONDS_TO_START = 60


class TwoNodes:
    """A head and another node, started by Ray's own command."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._folder = folder
        self._head = self._start("--head", f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false")
        self._wait(1)
        self._other = self._start(f"--address={self.address}")
        self._wait(2)

    def lose_one(self) -> None:
        os.killpg(self._other.pid, signal.SIGKILL)

    def stop(self) -> None:
        for node in (self._other, self._head):
            if node.poll() is None:
                os.killpg(node.pid, signal.SIGKILL)
            node.wait()

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [str(Path(sys.executable).with_name("ray")), "start", *arguments, *ONE]
        with (self._folder / "ray.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def _wait(self, nodes: int) -> None:
        ask = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
        until = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < until:
            done = subprocess.run(
                [sys.executable, "-c", ask, self.address], capture_output=True, text=True, check=False
            )
            if done.stdout.strip() == str(nodes):
                return
            time.sleep(0.5)
        raise AssertionError((self._folder / "ray.log").read_text())


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoNodes]:
    made = TwoNodes(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    made.stop()


def audit(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["compare", *arguments], prog_name="audit")


def reused(folder: Path) -> list[bool]:
    return [unit["reused"] for unit in json.loads((folder / "audit-out" / "timings.json").read_text())["units"]]


@pytest.mark.slow
def test_two_nodes_give_the_bytes_of_one_process_also_when_one_is_lost(
    cluster: TwoNodes, fresh: Path, plain: Path
) -> None:
    done = audit("--executor", "ray")
    assert done.exit_code == 3, done.output
    assert same_files(fresh, plain)
    assert all(reused(fresh)), "the audit itself computed nothing"
    shutil.rmtree(fresh / ".audit")
    # In a process of its own, since this one has to wait for the moment.
    again = subprocess.Popen([Path(sys.executable).with_name("audit"), "compare", "--executor", "ray"], cwd=fresh)
    while again.poll() is None and not list(fresh.glob(".audit/scores/*/[0-9a-f]*.json")):
        time.sleep(0.05)
    cluster.lose_one()
    assert again.wait() == 3
    assert same_files(fresh, plain)


@pytest.mark.slow
def test_what_takes_its_process_down_is_missing_coverage_and_all_else_is_done(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Set before the nodes start: their workers inherit it.
    monkeypatch.setenv("TINY", "os._exit")
    made = TwoNodes(tmp_path)
    try:
        monkeypatch.setenv("RAY_ADDRESS", made.address)
        done = audit("--executor", "ray", "--quiet")
    finally:
        made.stop()
    assert done.exit_code == 3, done.output
    results = read_results(fresh / "audit-out" / "results.json")
    reasons = {e.check: e.failure.reason for e in results.evidence if e.failure is not None}
    assert "was lost with its process on the cluster" in reasons["outputs"]


def test_models_in_memory_cannot_be_sent(fresh: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    module.load_state_dict(load_file(fresh / "original.safetensors"))
    with pytest.raises(UsageError, match="a cluster reads models from files"):
        auditor.compare(
            module,
            module,
            forget="forget.npz",
            retain="retain.npz",
            out=fresh / "out",
            options={"request": {"kind": "class"}, "audit": {"executor": "ray", "checks": ["cka"]}},
        )
