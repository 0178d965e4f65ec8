"""The demo's GAN: a small generator and its discriminator learn six digits, one of which is to be forgotten."""

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

from torch import nn

from auditor.demo.run import NEVER_CLEARED, World
from auditor.randomness import derive_seed
from auditor.records.spec import FILE_NAME, RecipeSpec
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


class GanDemo(World):
    """See :class:`auditor.demo.run.World`."""

    expected: ClassVar[Mapping[str, str]] = NEVER_CLEARED
    recipe: ClassVar[RecipeSpec] = RECIPE
    n_references: ClassVar[int] = N_REFERENCES

    @cached_property
    def _sets(self) -> Mapping[str, CustomExamples]:
        return gan_digits(FORGET_CLASS, derive_seed(self.seed, "world"))

    def write_inputs(self, folder: Path, recipe_lines: str) -> None:
        """Write data, architecture and audit.toml."""
        source = (files("auditor.zoo.gan") / "network.py").read_text(encoding="utf-8")
        (folder / "gan_network.py").write_text(source, encoding="utf-8")
        for name in ("forget", "retain", "retain_test"):
            write_custom(self._sets[name], folder / f"{name}.npz")
        text = _SPEC.format(forget=FORGET_CLASS, seed=self.seed) + recipe_lines
        (folder / FILE_NAME).write_text(text, encoding="utf-8")

    def makers(self) -> dict[str, Callable[[], nn.Module]]:
        """See there."""
        sets, seed = self._sets, self.seed
        return {
            "original": lambda: self._original,
            "deleted": lambda: trained(sets["retain"], derive_seed(seed, "deleted")),
            "suppressed": lambda: label_row(self._original, sets["forget"], sets["retain"], Settings(), seed),
        }

    @cached_property
    def _original(self) -> nn.Module:
        return trained(self._sets["train"], derive_seed(self.seed, "original"))
