"""The GitHub Action: what it declares, and the script that it runs, here with the auditor of this checkout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def run(folder: Path, **inputs: str) -> tuple[int, str, str]:
    """Exit code, summary and outputs of the action's script in a folder."""
    program = folder / "bin" / "audit"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m auditor "$@"\n')
    program.chmod(0o755)
    (program.parent / "python").unlink(missing_ok=True)
    (program.parent / "python").symlink_to(sys.executable)
    summary, output = folder / "summary.md", folder / "output"
    given = {
        "ORIGINAL": "original.safetensors",
        "CONFIG": "audit.toml",
        "EXPECT": "inconclusive",
        "OUT": "out",
        **inputs,
    }
    variables = {
        **os.environ,
        **given,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_OUTPUT": str(output),
    }
    command = ["bash", str(ROOT / "action.sh")]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, summary.read_text(), output.read_text()


def test_every_input_is_described_and_handed_on_by_the_environment() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert action["runs"]["using"] == "composite"
    for name, declared in action["inputs"].items():
        assert declared["description"].endswith("."), name
        assert declared.get("required") or "default" in declared
    scripts = [step["run"] for step in action["runs"]["steps"] if "run" in step]
    # Text of an input put into a script would be run as part of it.
    assert not any("inputs." in script for script in scripts)
    (audit,) = [step for step in action["runs"]["steps"] if step.get("id") == "audit"]
    assert set(audit["env"]) == {"ORIGINAL", "UNLEARNED", "CONFIG", "EXPECT", "OUT"}


def test_one_candidate_leaves_summary_badge_and_its_exit_code(pair: Path) -> None:
    code, summary, output = run(pair, UNLEARNED="copy.safetensors")
    assert code == 1
    assert output == "outcome=NOT_DELETED\n"
    assert summary.startswith("## Unlearning audit: `NOT_DELETED`\n")
    assert "weights are identical to the original" in summary
    shown = json.loads((pair / "out" / "badge.json").read_text())
    assert (shown["schemaVersion"], shown["message"], shown["color"]) == (1, "NOT_DELETED", "9b1c1c")


def test_several_are_ranked_and_the_original_may_stand_in_the_file(pair: Path) -> None:
    (pair / "audit.toml").write_text(
        '[models]\noriginal = "original.safetensors"\n[audit]\nchecks = ["weight_delta"]\n'
    )
    code, summary, output = run(pair, UNLEARNED="copy.safetensors unlearned.safetensors", ORIGINAL="")
    assert code == 1
    assert output == "outcome=INCONCLUSIVE\n"
    assert summary.count("## Unlearning audit: ") == 2
    assert (pair / "out" / "overview.html").is_file()


def test_an_audit_that_cannot_be_carried_out_says_so(pair: Path) -> None:
    code, summary, output = run(pair, UNLEARNED="absent.safetensors")
    assert (code, output) == (2, "outcome=none\n")
    assert "could not be carried out (exit code 2)" in summary
