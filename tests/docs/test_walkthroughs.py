"""docs/walkthroughs: what four users type, run as it stands, and held to the output beside it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from auditor.models.references import save_directory
from auditor.tasks.causal_lm.readers import write_facts
from tests.documented_world import ROOT
from tests.people_worlds import N_REFERENCES, TextWorld

FOLDER = ROOT / "docs" / "walkthroughs"
# Digests, and every other number: of the machine, the day, and the last digits of a training.
_DIGEST, _NUMBER = re.compile(r"\b[0-9a-f]{12,}\b"), re.compile(r"-?\d[\d,]*(\.\d+)?")
RECORD = "RECORD_WALKTHROUGHS"
"""Where it is set in the environment, the outputs are written instead of compared; read them before they are kept."""


def settled(text: str) -> str:
    """The output without what may differ from run to run: numbers, and the blanks that line them up."""
    lines = [" ".join(_NUMBER.sub("0", _DIGEST.sub("digest", line)).split()) for line in text.splitlines()]
    # picklescan is an extra package.
    return "\n".join(line for line in lines if not line.startswith("picklescan"))


def walked(name: str, folder: Path) -> str:
    """The output of a script that was run where its files lie; it has to be the one that stands beside it."""
    programs = folder.parent / "bin"
    programs.mkdir()
    # Not the one that may be installed: the auditor of this checkout.
    (programs / "audit").write_text(f'#!/bin/sh\nexec {sys.executable} -P -m auditor "$@"\n')
    (programs / "audit").chmod(0o755)
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python").chmod(0o755)
    variables = {"PATH": f"{programs}:{os.environ['PATH']}", "COLUMNS": "150", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [str(FOLDER / f"{name}.sh")],
        cwd=folder,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    kept = FOLDER / f"{name}.txt"
    if RECORD in os.environ:
        kept.write_text("\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n", encoding="utf-8")
    assert settled(done.stdout) == settled(kept.read_text(encoding="utf-8"))
    return done.stdout


@pytest.fixture
def world(documented: Path, tmp_path: Path) -> Path:
    """Digits of which one was to be forgotten: the deleted model is unlearned.pt."""
    return Path(shutil.copytree(documented, tmp_path / "world"))


@pytest.mark.slow
def test_an_engineer_with_an_image_classifier(world: Path) -> None:
    shutil.copy(world / "suppressed.pt", world / "unlearned.pt")
    said = walked("image-classifier", world)
    assert "needed: " not in said
    assert "DELETED is within reach of this plan" in said
    assert "\nSUPPRESSED (assurance A3)\n" in said
    assert said.endswith("exit code 1\n")


@pytest.mark.slow
def test_an_engineer_with_a_language_model(text_world: TextWorld, tmp_path: Path) -> None:
    folder = tmp_path / "world"
    names = {"original": "original", "unlearned": "refusal"}
    names |= {f"references/reference-{i + 1}": f"reference {i}" for i in range(N_REFERENCES)}
    for name, model in names.items():
        save_directory(text_world.modules[model], text_world.encoder.tokenizer, folder / name)
    for name in ("forget", "retain", "holdout"):
        write_facts(getattr(text_world.people, name), folder / f"{name}.jsonl")
    said = walked("language-model", folder)
    assert "\nSUPPRESSED (assurance A3)\n" in said
    assert said.endswith("exit code 1\n")


@pytest.mark.slow
def test_a_reviewer_with_two_received_files(world: Path) -> None:
    for source, received in (("original", "original"), ("suppressed", "received")):
        save_file(torch.load(world / f"{source}.pt", weights_only=True), world / f"{received}.safetensors")
    said = walked("reviewer", world)
    assert "sound     received.safetensors: safetensors, 12 tensors" in said
    assert "\nINCONCLUSIVE (assurance A0)\n" in said
    assert "\nSUPPRESSED (assurance A3)\n" in said
    assert said.endswith("exit code 1\n")


@pytest.mark.slow
def test_an_owner_of_a_ci(world: Path) -> None:
    said = walked("ci", world)
    assert "unlearned.pt is DELETED (assurance A3, at most " in said
    assert "1 passed" in said.splitlines()[-1]


def test_every_walkthrough_is_run_and_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    scripts = sorted(path.stem for path in FOLDER.glob("*.sh"))
    assert scripts == sorted(path.stem for path in FOLDER.glob("*.txt"))
    assert len(scripts) == 4
    for name in scripts:
        assert f"(docs/walkthroughs/{name}.sh)" in readme
        assert os.access(FOLDER / f"{name}.sh", os.X_OK), name
