"""The demo: a small world of known truth, made from real handwritten digits, for two audits."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from torch import nn

from auditor import references
from auditor.audit import execution_settings
from auditor.data import Examples
from auditor.randomness import derive_seed
from auditor.results import Results, read_results
from auditor.spec import RecipeSpec
from auditor.training import train
from auditor.zoo.digits import DigitsWorld, digits_world
from auditor.zoo.digits_net import build
from auditor.zoo.neg_grad_plus import Settings as NegGradPlusSettings
from auditor.zoo.neg_grad_plus import neg_grad_plus

FORGET_CLASS = 3
N_REFERENCES = 5
EXPECTED = {"suppressed": "SUPPRESSED", "deleted": "DELETED"}

_SPEC = """\
# Written by `audit demo`. Digit {forget} of scikit-learn's handwritten digits is to be forgotten.
[models]
original = "original.pt"
references = ["references/*.pt"]
architecture = "digits_net.py:build"

[data]
forget = "forget.npz"
retain = "retain.npz"
holdout = "holdout.npz"

[request]
kind = "class"

[audit]
seed = {seed}

[recipe]
"""


@dataclass(frozen=True, kw_only=True)
class DemoAudit:
    """One of the two audits.

    Attributes:
        name: ``suppressed`` or ``deleted``.
        command: as a person would type it in the demo's folder.
        exit_code: of that command.
        results: what it wrote.
    """

    name: str
    command: str
    exit_code: int
    results: Results

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the known truth."""
        return self.results.verdict.outcome == EXPECTED[self.name] and self.exit_code == 0


def make_world(folder: Path, seed: int, say: Callable[[str], None]) -> None:
    """Train every model and write models, data, architecture and audit.toml. What is there is kept.

    Args:
        folder: of the demo.
        seed: every random choice derives from it.
        say: told what is being done.
    """
    world = digits_world(FORGET_CLASS, derive_seed(seed, "world"))
    recipe = RecipeSpec()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "digits_net.py").write_text(
        (files("auditor.zoo") / "digits_net.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    for name in ("forget", "retain", "holdout"):
        _write_examples(getattr(world, name), folder / f"{name}.npz")
    recipe_lines = [f"{field} = {_toml(value)}" for field, value in recipe.model_dump().items()]
    text = _SPEC.format(forget=FORGET_CLASS, seed=seed) + "\n".join(recipe_lines) + "\n"
    (folder / "audit.toml").write_text(text, encoding="utf-8")
    with execution_settings(threads=1):
        _train_models(folder, world, recipe, seed, say)


def run_audit(name: str, folder: Path) -> DemoAudit:
    """Audit one subject in a process of its own, exactly as a person would type it."""
    arguments = ["compare", "original.pt", f"{name}.pt", "--expect", name, "--out", name]
    finished = subprocess.run(
        [sys.executable, "-m", "auditor", *arguments, "--quiet"],
        cwd=folder,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        check=False,
    )
    return DemoAudit(
        name=name,
        command=" ".join(["audit", *arguments]),
        exit_code=finished.returncode,
        results=read_results(folder / name / "results.json"),
    )


def _train_models(folder: Path, world: DigitsWorld, recipe: RecipeSpec, seed: int, say: Callable[[str], None]) -> None:
    def make(name: str, how: Callable[[], nn.Module]) -> None:
        path = folder / f"{name}.pt"
        if not path.is_file():
            say(f"training {name}")
            references.save(how(), path)

    original = _Kept(lambda: train(build, world.train, recipe, derive_seed(seed, "original")))
    make("original", original)
    for job in references.jobs(recipe, N_REFERENCES, seed)[:N_REFERENCES]:
        make(f"references/{job.name}", lambda job=job: references.train_job(job, build, world.retain, "cpu"))  # type: ignore[misc]
    make("deleted", lambda: train(build, world.retain, recipe, derive_seed(seed, "deleted")))
    make(
        "suppressed",
        lambda: neg_grad_plus(
            original(), world.forget, world.retain, NegGradPlusSettings(), derive_seed(seed, "suppressed")
        ),
    )


class _Kept:
    """Makes a network once."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        self._make = make
        self._made: nn.Module | None = None

    def __call__(self) -> nn.Module:
        if self._made is None:
            self._made = self._make()
        return self._made


def _write_examples(examples: Examples, path: Path) -> None:
    np.savez(path, images=examples.raw.numpy(), labels=examples.labels.numpy())


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
