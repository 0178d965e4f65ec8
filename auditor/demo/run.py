"""The demo: a small world of known truth, made here, for two audits."""

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

from torch import nn

from auditor import plugins
from auditor.errors import SpecError
from auditor.models import references
from auditor.models.references import Job
from auditor.records.draft import toml
from auditor.records.results import Results, read_results
from auditor.records.spec import FILE_NAME, RecipeSpec, make_spec, read_spec
from auditor.run.settings import execution_settings
from auditor.tasks import registry

GROUP = "unlearning_auditor.demos"
_NOUN = "demo"
_UNDECIDED = 3
EXPECTED = {"suppressed": "SUPPRESSED", "deleted": "DELETED"}
NEVER_CLEARED = {"suppressed": "SUPPRESSED", "deleted": "INCONCLUSIVE"}
"""Of a task whose audits do not end in ``DELETED`` yet."""


class World(ABC):
    """A world of known truth, written to a folder.

    Args:
        seed: every random choice derives from it.

    Attributes:
        suffix: of models' files; none where they are directories.
        recipe: how its models are trained.
        n_references: that are trained.
        expected: the outcome of each of the two audits, by the name of its subject.
    """

    suffix: ClassVar[str] = ".pt"
    recipe: ClassVar[RecipeSpec]
    n_references: ClassVar[int]
    expected: ClassVar[Mapping[str, str]] = EXPECTED

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @property
    def original(self) -> str:
        """Path of the original, in the folder."""
        return self.path("original")

    @property
    def subjects(self) -> dict[str, str]:
        """Path of each of the two subjects, by name."""
        return {name: self.path(name) for name in EXPECTED}

    def path(self, name: str) -> str:
        """Of a model that is no reference."""
        return f"{name}{self.suffix}" if self.suffix else f"models/{name}"

    @abstractmethod
    def write_inputs(self, folder: Path, recipe_lines: str) -> None:
        """Write data, architecture and audit.toml; ``recipe_lines`` are its last section."""

    @abstractmethod
    def makers(self) -> Mapping[str, Callable[[], nn.Module]]:
        """What trains ``original``, ``deleted`` and ``suppressed``."""

    def keep(self, module: nn.Module, path: Path) -> None:
        """Write a model."""
        references.save(module, path)

    def train_references(self, folder: Path, say: Callable[[str], None]) -> None:
        """Train those that are not there yet, as `audit reference` does, so that they carry what made them."""
        workshop = registry.workshop(make_spec(read_spec(folder / FILE_NAME), {}), folder)
        for job in self.jobs():
            if not (folder / "references" / f"{job.name}{self.suffix}").exists():
                say(f"training references/{job.name}")
            workshop.reference(job, folder / "references", "cpu", lambda done, steps: None)

    def jobs(self) -> list[Job]:
        """The references; without the two of a perturbed recipe, which stand last."""
        return references.jobs(self.recipe, self.n_references, self.seed)[: self.n_references]


@dataclass(frozen=True, kw_only=True)
class DemoAudit:
    """One of the two audits.

    Attributes:
        name: ``suppressed`` or ``deleted``.
        command: as a person would type it in the demo's folder.
        exit_code: of that command.
        results: what it wrote.
        expected: its outcome, by the known truth.
    """

    name: str
    command: str
    exit_code: int
    results: Results
    expected: str

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is what is expected, and the exit code fits it."""
        # The command expects the truth, which an audit that cannot end in it does not confirm.
        code = 0 if self.expected == EXPECTED[self.name] else _UNDECIDED
        return self.results.verdict.outcome == self.expected and self.exit_code == code


def tasks() -> tuple[str, ...]:
    """Names of the tasks that have a demo, sorted, without importing any."""
    return tuple(entry.name for entry in plugins.registered(GROUP))


def world_of(task: str, seed: int, *, with_references: bool = True) -> World:
    """The world of a task.

    Args:
        task: one of :func:`tasks`.
        seed: every random choice derives from it.
        with_references: whether references are trained; language models can be audited without.

    Raises:
        SpecError: a demo that needs references, without any.
    """
    # Of what an entry point gives no type is known; those of this group make a world from a seed.
    make = cast(Callable[..., World], plugins.loaded(plugins.named(GROUP, task, _NOUN), _NOUN))
    if with_references:
        return make(seed)
    if task != "causal-lm":
        raise SpecError(f"--no-references is for --task causal-lm; the demo of {task} needs references")
    return make(seed, with_references=False)


def make_world(world: World, folder: Path, say: Callable[[str], None]) -> None:
    """Train every model and write models, data and audit.toml. What is there is kept.

    Args:
        world: which.
        folder: of the demo.
        say: told what is being done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{field} = {toml(value)}" for field, value in world.recipe.model_dump().items()]
    world.write_inputs(folder, "\n".join(lines) + "\n")
    # The number of threads decides the order of sums, and with it the last digits of the models.
    with execution_settings(threads=1):
        for name, make in world.makers().items():
            path = folder / world.path(name)
            if not path.exists():
                say(f"training {name}")
                world.keep(make(), path)
        world.train_references(folder, say)


def run_audit(world: World, name: str, folder: Path) -> DemoAudit:
    """Audit one subject in a process of its own, exactly as a person would type it."""
    arguments = ["compare", world.original, world.subjects[name], "--expect", name, "--out", name]
    finished = subprocess.run(
        [sys.executable, "-m", "auditor", *arguments, "--quiet"],
        cwd=folder,
        # Nothing is imported out of the folder that it runs in.
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        check=False,
    )
    return DemoAudit(
        name=name,
        command=" ".join(["audit", *arguments]),
        exit_code=finished.returncode,
        results=read_results(folder / name / "results.json"),
        expected=world.expected[name],
    )
