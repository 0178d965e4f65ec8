"""``audit scan``: what it says of a file, and that an opinion decides nothing."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml
from click.testing import CliRunner, Result

from auditor import scan as scanning
from auditor.cli import main
from auditor.loading.picklescan_report import picklescan_report
from auditor.scan import scan
from auditor.zoo.text.people_model import people_model
from tests.documented_world import ROOT, block


class Runs:
    """Unpickling an instance writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def audit(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["scan", "--", *map(str, arguments)], prog_name="audit")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    safetensors.torch.save_file({"w": torch.ones(2, 3), "b": torch.ones(2)}, folder / "good.safetensors")
    torch.save({"w": Runs(folder / "marker")}, folder / "evil.pt")
    (folder / "empty.pt").write_bytes(b"")
    people_model(40, layers=1, width=16)().save_pretrained(folder / "model")
    return folder


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No picklescan, which would start a process for each pickle."""
    monkeypatch.setattr(scanning, "picklescan_report", lambda _: None)


@pytest.mark.usefixtures("silent")
def test_one_line_each_and_the_worst_decides(files: Path) -> None:
    sound = audit(files / "good.safetensors")
    assert sound.exit_code == 0
    assert sound.output.startswith(f"sound     {files}/good.safetensors: safetensors, 2 tensors, 8 values, SHA-256 ")
    unusable = audit(files / "good.safetensors", files / "empty.pt", files / "absent.pt")
    assert unusable.exit_code == 2
    assert [line.split()[0] for line in unusable.output.splitlines()] == ["sound", "unusable", "unusable"]
    refused = audit(files / "evil.pt", files / "empty.pt")
    assert refused.exit_code == 4
    assert refused.output.startswith("REFUSED ")
    assert "posix.system" in refused.output
    assert not (files / "marker").exists()


def test_a_pickle_goes_through_the_limited_process_and_leaves_nothing(files: Path, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "-w.pt")
    found = scan(tmp_path / "-w.pt")
    assert found.state == "sound"
    assert "-w.pt: torch.save, 1 tensors, 3 values" in found.words
    assert found.picklescan_report == "picklescan found nothing"
    assert [path.name for path in tmp_path.iterdir()] == ["-w.pt"]


@pytest.mark.usefixtures("silent")
def test_a_directory_is_read_whole_and_names_what_is_not(files: Path) -> None:
    (files / "model" / "modeling_evil.py").write_text(f"open({str(files / 'marker')!r}, 'w')")
    (files / "model" / "pytorch_model.bin").write_bytes(b"")
    done = audit(files / "model")
    assert done.exit_code == 0
    assert "causal-lm model, 12 tensors" in done.output
    assert "not read: modeling_evil.py, pytorch_model.bin" in done.output
    (files / "model" / "tokenizer.json").write_text("{}")
    assert "tokenizer.json is no tokenizer" in audit(files / "model").output
    (files / "model" / "tokenizer.json").unlink()
    assert not (files / "marker").exists()


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize(
    ("config", "code", "message"),
    [
        ('{"peft_type": "LORA", "r": 4}', 2, r"adapter_model\.safetensors does not exist"),
        ('{"peft_type": "LORA", "auto_mapping": null, "modules_to_save": ["x"]}', 2, "asks for modules_to_save"),
    ],
)
def test_an_adapter(tmp_path: Path, config: str, code: int, message: str) -> None:
    (tmp_path / "adapter_config.json").write_text(config)
    done = audit(tmp_path)
    assert done.exit_code == code
    assert message.replace("\\", "") in done.output
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "adapter_model.safetensors")
    expected = 0 if "modules_to_save" not in config else 2
    assert audit(tmp_path).exit_code == expected


@pytest.mark.usefixtures("silent")
def test_a_hostile_file_name_stays_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a\n\x1b[2J\u202e.pt"
    path.write_bytes(b"PK\x03\x04")
    done = audit(path, tmp_path / "absent\nREFUSED.pt")
    assert len(done.output.splitlines()) == 2
    assert all(line.isprintable() for line in done.output.splitlines())


class TestHook:
    """.pre-commit-hooks.yaml: what a repository of models runs before a commit."""

    HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))

    def test_its_entry_exists_and_runs(self, files: Path) -> None:
        (hook,) = self.HOOKS
        program, *arguments = shlex.split(hook["entry"])
        scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
        module, _, function = scripts[program].partition(":")
        start = [sys.executable, "-c", f"from {module} import {function}; {function}()", *arguments]
        (files / "-h.pt").write_bytes(b"")
        for name, code in {"good.safetensors": 0, "evil.pt": 4, "-h.pt": 2}.items():
            assert subprocess.run([*start, name], cwd=files, capture_output=True, check=False).returncode == code, name

    def test_it_is_given_the_files_that_are_checkpoints(self) -> None:
        (hook,) = self.HOOKS
        committed = ["a.pt", "deep/b.safetensors", "c.pth", "d.th", "e.ptx", "notes.md", "pt"]
        assert [name for name in committed if re.search(hook["files"], name)] == committed[:4]

    def test_the_ci_page_names_it(self) -> None:
        (named,) = yaml.safe_load(block("docs/ci.md", "repos:"))["repos"]
        assert [hook["id"] for hook in named["hooks"]] == [hook["id"] for hook in self.HOOKS]


class TestOpinion:
    def test_it_decides_nothing(self, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for said in ("picklescan calls dangerous: everything", "picklescan found nothing"):
            monkeypatch.setattr(scanning, "picklescan_report", lambda _, said=said: said)
            assert scan(files / "evil.pt").state == "refused"
            assert scan(files / "evil.pt").picklescan_report == said
        assert scan(files / "good.safetensors").picklescan_report is None

    def test_it_names_what_a_pickle_calls_and_runs_nothing(self, files: Path) -> None:
        assert picklescan_report(files / "evil.pt") == "picklescan calls dangerous: posix.system"
        assert not (files / "marker").exists()

    def test_it_is_limited_before_it_looks(self, files: Path) -> None:
        script = (
            "import resource, sys; from auditor.loading import picklescan_report as p; p.main(sys.argv[1]);"
            "print(resource.getrlimit(resource.RLIMIT_NOFILE)[1], resource.getrlimit(resource.RLIMIT_CPU)[1])"
        )
        command = [sys.executable, "-P", "-c", script, str(files / "evil.pt")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "0 60"

    def test_without_picklescan_there_is_none(self, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        assert picklescan_report(files / "evil.pt") is None

    def test_what_it_cannot_read_is_said(self, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        failed = subprocess.CompletedProcess[str]([], 1, stdout="", stderr="Traceback")
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
        assert picklescan_report(files / "evil.pt") == "picklescan could not read it"
