"""Commands around a finished or frozen audit: plan, compare --plan, render, diff, export."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from auditor.cli import main
from auditor.records.plan import read_plan
from auditor.records.results import read_results
from auditor.run import audit_folder
from tests.received import Sent


def audit(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="audit")


class TestFrozenPlan:
    @pytest.fixture
    def files(self, sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        files = sent.copy(tmp_path).files
        monkeypatch.chdir(files)
        return files

    def test_it_is_carried_out_as_frozen(self, files: Path) -> None:
        done = audit("plan", "--checks", "outputs")
        assert done.exit_code == 0, done.output
        frozen = (files / "plan.json").read_bytes()
        assert read_plan(files / "plan.json").digest in done.output
        assert "audit compare --plan plan.json" in done.output
        assert not (files / "audit-out").exists(), "nothing is scored"

        done = audit("compare", "--plan", "plan.json", "--out", "out")
        assert done.exit_code == 0, done.output
        assert (files / "out" / audit_folder.PLAN).read_bytes() == frozen
        assert {c.name for c in read_results(files / "out" / audit_folder.RESULTS).plan.checks} == {
            "outputs",
            "weight_delta",
        }
        assert audit("verify", "out", "--plan", "plan.json").exit_code == 0

    def test_what_changed_since_is_named_in_one_sentence(self, files: Path) -> None:
        assert audit("plan", "--checks", "outputs").exit_code == 0
        (files / "unlearned.safetensors").write_bytes((files / "original.safetensors").read_bytes())
        done = audit("compare", "--plan", "plan.json")
        assert done.exit_code == 2
        assert "plan.json cannot be carried out as frozen: models.unlearned.file_digest was " in done.output
        assert len(done.output.strip().splitlines()) == 1
        assert not (files / "audit-out").exists()

    def test_it_fixes_everything_and_is_not_replaced(self, files: Path) -> None:
        (files / "plan.json").write_text("{}")
        done = audit("plan")
        assert (done.exit_code, "is not replaced" in done.output) == (2, True)
        done = audit("compare", "--plan", "plan.json", "--seed", "1", "--reference", "x.pt")
        assert done.exit_code == 2
        assert "--plan fixes everything; leave out --seed, --reference" in done.output
        done = audit("compare", "--plan", "plan.json")
        assert (done.exit_code, "is not a plan of this version" in done.output) == (2, True)
        done = audit("compare", "--plan", "absent.json")
        assert (done.exit_code, "`audit plan` writes one" in done.output) == (2, True)


ELSEWHERE: tuple[dict[str, str], ...] = (
    {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
    {"TZ": "America/St_Johns", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "PYTHONUTF8": "1"},
)


def test_render_gives_the_same_bytes_in_every_environment(sent: Sent, tmp_path: Path) -> None:
    for i, environment in enumerate(ELSEWHERE):
        folder = tmp_path / f"folder {i}"
        folder.mkdir()
        shutil.copy(sent.audit / audit_folder.RESULTS, folder)
        done = subprocess.run(
            [sys.executable, "-m", "auditor", "render", "results.json"],
            cwd=folder,
            env={**os.environ, **environment},
            umask=(0o077, 0o002)[i],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert (folder / audit_folder.REPORT).read_bytes() == (sent.audit / audit_folder.REPORT).read_bytes()


def test_the_command_imports_nothing_out_of_the_folder_it_is_run_in(sent: Sent, tmp_path: Path) -> None:
    folder = sent.copy(tmp_path).audit
    for name in ("auditor", "torch", "numpy", "matplotlib", "sitecustomize"):
        (folder / f"{name}.py").write_text("raise SystemExit('a module of the received folder was run')")
    command = Path(sys.executable).with_name("audit")
    done = subprocess.run([command, "verify", "."], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_render_says_what_is_wrong_with_its_input(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"schema_version": "0"}')
    done = audit("render", tmp_path / "results.json")
    assert (done.exit_code, "is of results schema 0, and this version" in done.output) == (2, True)
    assert not (tmp_path / audit_folder.REPORT).exists()


def test_diff_of_an_audit_with_itself_and_with_another(sent: Sent, tmp_path: Path) -> None:
    done = audit("diff", sent.audit, sent.audit / audit_folder.RESULTS)
    assert (done.exit_code, "the plans are the same" in done.output) == (0, True)

    results = read_results(sent.audit / audit_folder.RESULTS)
    few_shot = results.of("few_shot")
    assert few_shot is not None
    assert few_shot.rho is not None
    rho = few_shot.rho.model_copy(update={"value": few_shot.rho.value + 0.5})
    evidence = [e.model_copy(update={"rho": rho}) if e.check == "few_shot" else e for e in results.evidence]
    other: dict[str, Any] = {
        "evidence": tuple(e for e in evidence if e.check != "weight_delta"),
        "verdict": results.verdict.model_copy(update={"outcome": "SUPPRESSED"}),
        "plan": results.plan.model_copy(update={"seed": 5, "class_names": ("\x1b[31mred",)}),
    }
    path = tmp_path / "other.json"
    path.write_text(results.model_copy(update=other).to_json())
    done = audit("diff", sent.audit, path)
    assert "\x1b" not in done.output
    assert done.exit_code == 1
    assert "INCONCLUSIVE (assurance A3) -> SUPPRESSED (assurance A3)" in done.output
    assert "+0.50" in done.output
    assert "not planned" in done.output
    assert "seed was 0, is 5" in done.output


def test_export(sent: Sent, tmp_path: Path) -> None:
    assert audit("export", sent.audit, "--model-card").output.startswith("## Unlearning audit\n")
    csv = audit("export", sent.audit / audit_folder.RESULTS, "--csv")
    assert csv.output.splitlines()[0].startswith("check,family,may,primary,")
    assert audit("export", sent.audit, "--rows", "--out", tmp_path / "cells.csv").output == ""
    assert (tmp_path / "cells.csv").read_text().startswith("check,")
    done = audit("export", sent.audit)
    assert (done.exit_code, "say what to export" in done.output) == (2, True)
