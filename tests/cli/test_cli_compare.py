"""``audit compare``: exits, output and paths. Whole audits are tests/audits/test_audit.py's."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from auditor.cli import main
from auditor.cli.options import spec_from_options
from auditor.errors import AuditError
from auditor.records.spec import AuditSpec
from tests.command_line import HEAVY, audit


class TestOtherExits:
    def test_a_refused_pickle(self, pair: Path) -> None:
        torch.save(nn.Sequential(nn.Linear(4, 3)), pair / "whole.pt")
        done = audit("compare", "original.safetensors", "whole.pt")
        assert done.exit_code == 4
        assert done.stdout == ""
        assert "whole.pt was refused" in done.stderr
        conversion = re.search(r'python -c "(.*)"', done.stderr)
        assert conversion, "no conversion to run where the file is trusted"
        exec(compile(conversion[1], "conversion", "exec"), {})
        assert audit("compare", "weights.pt", "original.safetensors").exit_code == 3

    def test_a_fault_of_the_auditor(self, pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*arguments: Any, **extra: Any) -> None:
            raise ZeroDivisionError("by design")

        monkeypatch.setattr("auditor.run.preparing.prepare", broken)
        done = audit("compare", "original.safetensors", "unlearned.safetensors")
        assert done.exit_code == 5
        assert done.stdout == ""
        *lines, last = done.stderr.splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert "in broken" in "".join(lines)
        assert lines[-1] == "ZeroDivisionError: by design"
        assert "please report" in last

    def test_the_root_of_the_error_tree(self, pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*arguments: Any, **extra: Any) -> None:
            raise AuditError("cannot be")

        monkeypatch.setattr("auditor.run.preparing.prepare", broken)
        assert audit("compare", "original.safetensors", "unlearned.safetensors").exit_code == 5

    def test_interrupted(self, pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*arguments: Any, **extra: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("auditor.run.execution.execute", interrupt)
        done = audit("compare", "original.safetensors", "unlearned.safetensors")
        assert done.exit_code == 130
        assert done.stdout == ""
        assert "finished scores are kept" in done.stderr

    def test_interrupted_process(self, pair: Path) -> None:
        """A signal from the terminal, while the user's own code is being run."""
        (pair / "slow.py").write_text(
            "import pathlib, time\ndef build():\n    pathlib.Path('begun').touch()\n    time.sleep(600)\n"
        )
        running = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "auditor",
                "compare",
                "original.safetensors",
                "copy.safetensors",
                "--architecture",
                "slow.py:build",
            ],
            cwd=pair,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A shell starts background jobs with the signal ignored, and a child would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        deadline = time.monotonic() + 300
        while not (pair / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        out, errors = running.communicate(timeout=300)
        assert running.returncode == 130, errors
        assert out == ""
        assert "Traceback" not in errors


class TestPairAlone:
    """Two checkpoints and nothing else: their weights are compared, and nothing is decided."""

    def test_weights_are_compared(self, pair: Path) -> None:
        done = audit("compare", "original.safetensors", "unlearned.safetensors")
        assert done.exit_code == 3
        assert done.stdout.startswith("INCONCLUSIVE (assurance A0)")
        assert "weight_delta" in done.stdout
        assert "an architecture, a forget set and a retain set" in done.stdout
        results = json.loads((pair / "audit-out" / "results.json").read_text(encoding="utf-8"))
        assert results["coverage"]["completed"] == ["weight_delta"]
        assert (pair / "audit-out" / "report.html").stat().st_size < 2_000_000

    def test_identical_weights_are_named(self, pair: Path) -> None:
        done = audit("compare", "original.safetensors", "copy.safetensors")
        assert done.exit_code == 1
        assert done.stdout.startswith("NOT_DELETED (assurance A0)")
        assert "the weights are identical to the original's" in done.stdout
        other = audit("compare", "original.safetensors", "unlearned.safetensors")
        assert "identical" not in other.stdout

    def test_quiet(self, pair: Path) -> None:
        done = audit("compare", "original.safetensors", "unlearned.safetensors", "--quiet")
        assert done.stdout == "INCONCLUSIVE (assurance A0)\n"
        assert done.stderr == ""

    def test_expected(self, pair: Path) -> None:
        assert (
            audit("compare", "original.safetensors", "unlearned.safetensors", "--expect", "inconclusive").exit_code == 0
        )

    def test_sentences_stay_whole_in_a_pipe(self, pair: Path) -> None:
        """And the process that the user started loads nothing heavy, so that a child can be forked from it."""
        code = f"""
            import sys
            from auditor.cli import main
            try:
                main(["compare", "original.safetensors", "copy.safetensors"])
            finally:
                loaded = {set(HEAVY) - {"rich"}!r} & set(sys.modules)
                assert not loaded, loaded
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=pair,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "40"},
            text=True,
            capture_output=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 1, done.stderr
        recorded = json.loads((pair / "audit-out" / "results.json").read_text(encoding="utf-8"))["plan"]["command"]
        assert recorded == "audit compare original.safetensors copy.safetensors"
        assert "weight_delta: the weights are identical to the original's: nothing was deleted from them" in done.stdout
        assert done.stderr == ""

    def test_names_are_not_markup(self, pair: Path) -> None:
        for name in ("[red]x.safetensors", "[bold]y.safetensors"):
            (pair / name).write_bytes((pair / "unlearned.safetensors").read_bytes())
            done = audit("compare", "original.safetensors", name, "--dry-run")
            assert done.exit_code == 0
            assert name in done.stdout


NETWORK = """\
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
"""


def weights(seed: int, favourite: int | None = None) -> dict[str, torch.Tensor]:
    """Of an untrained network that says its favourite of everything; 1 is right on half of retain, which is enough."""
    torch.manual_seed(seed)
    space: dict[str, Any] = {}
    exec(NETWORK, space)
    found: dict[str, torch.Tensor] = space["build"]().state_dict()
    if favourite is not None:
        found["3.bias"][favourite] += 100
    return found


@pytest.fixture
def project(empty: Path) -> Path:
    """Data, network and two checkpoints in ``project/``, with the working directory beside it."""
    folder = empty / "project"
    folder.mkdir()
    (folder / "network.py").write_text(NETWORK)
    for seed, name in enumerate(("original", "unlearned", "reference-1")):
        save_file(weights(seed, favourite=1), folder / f"{name}.safetensors")
    random = np.random.default_rng(0)
    for name, labels in (("forget", np.zeros(8)), ("retain", np.arange(40) % 2 + 1)):
        images = random.normal(size=(len(labels), 1, 4, 4)).astype(np.float32)
        np.savez(folder / f"{name}.npz", images=images, labels=labels.astype(np.int64))
    (folder / "audit.toml").write_text(
        '[models]\noriginal = "original.safetensors"\nunlearned = "unlearned.safetensors"\n'
        'architecture = "network.py:build"\n'
        '[data]\nforget = "forget.npz"\nretain = "retain.npz"\n'
    )
    return empty


class TestDryRun:
    def test_prints_plan_price_and_prospect(self, project: Path) -> None:
        done = audit("compare", "--config", "project/audit.toml", "--dry-run")
        assert done.exit_code == 0, done.output
        for part in (
            "plan ",
            "original.safetensors",
            "forget: 8 examples",
            "head_row_zeroed",
            "estimate: ",
            "few_shot*",
        ):
            assert part in done.stdout
        assert "DELETED is out of reach: 0 references" in done.stdout

    def test_writes_nothing_but_the_store(self, project: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file()}
        audit("compare", "--config", "project/audit.toml", "--out", "elsewhere", "--dry-run")
        after = {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file()}
        store = project / "project" / ".audit"
        assert {path for path in after if after[path] != before.get(path) and store not in path.parents} == set()
        assert set(before) <= set(after)
        assert not (store / "scores").exists()

    def test_the_plan_is_the_same_twice(self, project: Path) -> None:
        first, second = (audit("compare", "--config", "project/audit.toml", "--dry-run").stdout for _ in range(2))
        assert first.splitlines()[0] == second.splitlines()[0]

    def test_an_untrained_original_stops_at_the_gate(self, project: Path) -> None:
        save_file(weights(0), project / "project" / "original.safetensors")
        for options in ((), ("--dry-run",)):
            done = audit("compare", "--config", "project/audit.toml", *options)
            assert done.exit_code == 2
            assert "check preprocessing, class order and architecture" in done.stderr


class TestPaths:
    """Those of audit.toml are relative to the file, those typed to the working directory."""

    def paths(self, *arguments: str) -> AuditSpec:
        found: list[tuple[AuditSpec, Path]] = []
        command = main.commands["compare"]
        with command.make_context("compare", list(arguments)) as context:
            found.append(spec_from_options(context.params))
        (spec, self.base), *_ = found
        return spec

    def test_of_the_file(self, project: Path) -> None:
        spec = self.paths("--config", "project/audit.toml")
        assert (self.base / str(spec.models.original)).resolve() == (project / "project/original.safetensors").resolve()

    def test_typed(self, project: Path) -> None:
        (project / "here.safetensors").touch()
        spec = self.paths(
            *(
                "here.safetensors",
                "project/unlearned.safetensors",
                "--config",
                "project/audit.toml",
                "--policy",
                "mine.toml",
            ),
            *(
                "--reference",
                "project/reference-*.safetensors",
                "--architecture",
                "net.py:f",
                "--forget",
                "/data/f.npz",
            ),
        )
        seen = [spec.models.original, spec.models.unlearned, spec.audit.policy, *spec.models.references]
        wanted = ["here.safetensors", "project/unlearned.safetensors", "mine.toml", "project/reference-*.safetensors"]
        assert [(self.base / str(path)).resolve() for path in seen] == [(project / path).resolve() for path in wanted]
        assert spec.models.architecture == "../net.py:f"
        assert (self.base / str(spec.data.forget)).resolve() == Path("/data/f.npz")

    def test_a_shipped_policy_is_no_path(self, project: Path) -> None:
        assert self.paths("--config", "project/audit.toml", "--policy", "strict").audit.policy == "strict"

    def test_through_a_whole_call(self, project: Path) -> None:
        for name in ("unlearned.safetensors", "forget.npz"):
            (project / name).write_bytes((project / "project" / name).read_bytes())
        plain = ("compare", "--config", "project/audit.toml", "--dry-run")
        typed = audit(*plain, "project/original.safetensors", "unlearned.safetensors", "--forget", "forget.npz")
        assert typed.exit_code == 0, typed.output
        assert "../unlearned.safetensors" in typed.stdout
        (project / "project" / "unlearned.safetensors").unlink()
        assert audit(*plain).exit_code == 2

    def test_the_file_in_the_working_directory_is_found(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(project / "project")
        assert audit("compare", "--dry-run").exit_code == 0

    def test_output_typed_and_output_in_the_file(self, project: Path) -> None:
        config = project / "project" / "audit.toml"
        config.write_text(
            '[models]\noriginal = "original.safetensors"\nunlearned = "unlearned.safetensors"\n'
            '[audit]\nout = "found"\nchecks = ["weight_delta"]\n'
        )
        assert audit("compare", "--config", str(config)).exit_code == 3
        assert (project / "project" / "found" / "results.json").is_file()
        assert audit("compare", "--config", str(config), "--out", "typed").exit_code == 3
        assert (project / "typed" / "results.json").is_file()


def test_the_recorded_command_repeats_the_audit(pair: Path) -> None:
    """Without what changes no result: where it is written and how much is printed."""
    arguments = ["compare", "original.safetensors", "unlearned.safetensors", "--seed", "3"]
    assert audit(*arguments, "--out", "a", "--quiet").exit_code == 3
    recorded = json.loads((pair / "a" / "results.json").read_text(encoding="utf-8"))["plan"]["command"]
    assert recorded == "audit compare original.safetensors unlearned.safetensors --seed 3"
    assert audit(*recorded.split()[1:], "--out=b").exit_code == 3
    for name in ("results.json", "report.html", "plan.json"):
        assert (pair / "a" / name).read_bytes() == (pair / "b" / name).read_bytes()
