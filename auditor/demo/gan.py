"""The demo's GAN: a small generator and its discriminator learn six digits, one of which is to be forgotten."""

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from torch import nn

from auditor.demo.run import NEVER_CLEARED
from auditor.models import references
from auditor.randomness import derive_seed
from auditor.records.spec import FILE_NAME, make_spec, read_spec
from auditor.tasks import registry
from auditor.tasks.custom.readers import write_custom
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.gan.digits import RECIPE, gan_digits, trained
from auditor.zoo.gan.label_row import Settings, label_row

FORGET_CLASS = 3
N_REFERENCES = 6

_SPEC = """\
# Written by `audit demo --task gan`. Digit {forget} of six handwritten digits is to be forgotten by a GAN.
[models]
original = "original.pt"
references = ["references/*.pt"]
architecture = "gan_network.py:build"
task = "gan"

[data]
forget = "forget.npz"
retain = "retain.npz"
retain_test = "retain_test.npz"

[request]
kind = "class"

[audit]
seed = {seed}

[recipe]
"""


class GanDemo:
    """See :class:`auditor.demo.run.World`.

    Args:
        seed: every random choice derives from it.
    """

    original = "original.pt"
    subjects = {"suppressed": "suppressed.pt", "deleted": "deleted.pt"}  # noqa: RUF012 - never written to
    expected = NEVER_CLEARED
    recipe = RECIPE

    def __init__(self, seed: int) -> None:
        self._seed = seed

    @cached_property
    def _sets(self) -> Mapping[str, CustomExamples]:
        return gan_digits(FORGET_CLASS, derive_seed(self._seed, "world"))

    def write_inputs(self, folder: Path, recipe_lines: str) -> None:
        """Write data, architecture and audit.toml."""
        source = (files("auditor.zoo.gan") / "network.py").read_text(encoding="utf-8")
        (folder / "gan_network.py").write_text(source, encoding="utf-8")
        for name in ("forget", "retain", "retain_test"):
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
            "suppressed": lambda: label_row(self._original, sets["forget"], sets["retain"], Settings(), seed),
        }

    @cached_property
    def _original(self) -> nn.Module:
        return trained(self._sets["train"], derive_seed(self._seed, "original"))
