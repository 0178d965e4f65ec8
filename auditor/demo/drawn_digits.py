"""The demo's drawn digits: a small diffusion model draws the digit that it is asked for, and is to forget one."""

from collections.abc import Callable
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from torch import nn

from auditor.demo.run import NEVER_CLEARED
from auditor.models import references
from auditor.randomness import derive_seed
from auditor.records.spec import FILE_NAME, RecipeSpec, make_spec, read_spec
from auditor.tasks import registry
from auditor.tasks.custom.readers import write_custom
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.diffusion.digits import RECIPE, diffusion_digits, trained
from auditor.zoo.diffusion.label_row import Settings, label_row

FORGET_CLASS = 3
N_REFERENCES = 6

_SPEC = """\
# Written by `audit demo --task diffusion`. Digit {forget} of a diffusion model of five digits is to be forgotten.
[models]
original = "original.pt"
references = ["references/*.pt"]
architecture = "network.py:build"
task = "diffusion"

[data]
forget = "forget.npz"
retain = "retain.npz"
retain_test = "retain_test.npz"
holdout = "holdout.npz"

[request]
kind = "class"

[audit]
seed = {seed}

[recipe]
"""


class DrawnDigitsDemo:
    """See :class:`auditor.demo.run.World`.

    Args:
        seed: every random choice derives from it.
    """

    original = "original.pt"
    subjects = {"suppressed": "suppressed.pt", "deleted": "deleted.pt"}  # noqa: RUF012 - never written to
    expected = NEVER_CLEARED
    recipe: RecipeSpec = RECIPE

    def __init__(self, seed: int) -> None:
        self._seed = seed

    @cached_property
    def _sets(self) -> dict[str, CustomExamples]:
        return dict(diffusion_digits(FORGET_CLASS, derive_seed(self._seed, "world")))

    def write_inputs(self, folder: Path, recipe_lines: str) -> None:
        """Write data, architecture and audit.toml."""
        source = (files("auditor.zoo.diffusion") / "network.py").read_text(encoding="utf-8")
        (folder / "network.py").write_text(source, encoding="utf-8")
        for name in ("forget", "retain", "retain_test", "holdout"):
            write_custom(self._sets[name], folder / f"{name}.npz")
        text = _SPEC.format(forget=FORGET_CLASS, seed=self._seed) + recipe_lines
        (folder / FILE_NAME).write_text(text, encoding="utf-8")

    def make_models(self, folder: Path, say: Callable[[str], None]) -> None:
        """Train every model that is not there yet."""
        for name, how in self._makers().items():
            path = folder / f"{name}.pt"
            if not path.is_file():
                say(f"training {name}")
                references.save(how(), path)
        # As `audit reference` does, so that they carry what made them.
        workshop = registry.workshop(make_spec(read_spec(folder / FILE_NAME), {}), folder)
        # Without the two of a perturbed recipe, which stand last.
        for job in references.jobs(self.recipe, N_REFERENCES, self._seed)[:N_REFERENCES]:
            if not (folder / "references" / f"{job.name}.pt").is_file():
                say(f"training references/{job.name}")
            workshop.reference(job, folder / "references", "cpu", lambda done, steps: None)

    def _makers(self) -> dict[str, Callable[[], nn.Module]]:
        sets, seed = self._sets, self._seed
        return {
            "original": lambda: self._original,
            "deleted": lambda: trained(sets["retain"], derive_seed(seed, "deleted")),
            "suppressed": lambda: label_row(
                self._original, sets["forget"], sets["retain"], Settings(), derive_seed(seed, "suppressed")
            ),
        }

    @cached_property
    def _original(self) -> nn.Module:
        return trained(self._sets["train"], derive_seed(self._seed, "original"))
