"""The demo's drawn digits: a small diffusion model draws the digit that it is asked for, and is to forget one."""

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
from auditor.zoo.diffusion.digits import RECIPE, diffusion_digits, trained
from auditor.zoo.diffusion.last_layer import last_layer_turned

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


class DrawnDigitsDemo(World):
    """See :class:`auditor.demo.run.World`."""

    expected: ClassVar[Mapping[str, str]] = NEVER_CLEARED
    recipe: ClassVar[RecipeSpec] = RECIPE
    n_references: ClassVar[int] = N_REFERENCES

    @cached_property
    def _sets(self) -> dict[str, CustomExamples]:
        return dict(diffusion_digits(FORGET_CLASS, derive_seed(self.seed, "world")))

    def write_inputs(self, folder: Path, recipe_lines: str) -> None:
        """Write data, architecture and audit.toml."""
        source = (files("auditor.zoo.diffusion") / "network.py").read_text(encoding="utf-8")
        (folder / "network.py").write_text(source, encoding="utf-8")
        for name in ("forget", "retain", "retain_test", "holdout"):
            write_custom(self._sets[name], folder / f"{name}.npz")
        text = _SPEC.format(forget=FORGET_CLASS, seed=self.seed) + recipe_lines
        (folder / FILE_NAME).write_text(text, encoding="utf-8")

    def makers(self) -> dict[str, Callable[[], nn.Module]]:
        """See there."""
        sets, seed = self._sets, self.seed
        return {
            "original": lambda: self._original,
            "deleted": lambda: trained(sets["retain"], derive_seed(seed, "deleted")),
            "suppressed": lambda: last_layer_turned(
                self._original, sets["forget"], sets["retain"], derive_seed(seed, "suppressed")
            ),
        }

    @cached_property
    def _original(self) -> nn.Module:
        return trained(self._sets["train"], derive_seed(self.seed, "original"))
