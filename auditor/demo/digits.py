"""The demo's digits: one class of scikit-learn's handwritten digits is to be forgotten."""

from collections.abc import Callable
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import nn

from auditor.demo.run import World
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.tasks.classification.decoys.neg_grad_plus import Settings, neg_grad_plus
from auditor.tasks.classification.sets import Examples
from auditor.zoo.digits import DigitsWorld, digits_world
from auditor.zoo.digits_net import build

FORGET_CLASS = 3
# With five, a retrain of these small networks that relearns sooner than all of them is left undecided now and then.
N_REFERENCES = 8

_SPEC = """\
# Written by `audit demo`. Digit {forget} of scikit-learn's handwritten digits is to be forgotten.
[models]
original = "original.pt"
references = ["references/*.pt"]
architecture = "digits_net.py:build"

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


class DigitsDemo(World):
    """See :class:`auditor.demo.run.World`."""

    recipe: ClassVar[RecipeSpec] = RecipeSpec()
    n_references: ClassVar[int] = N_REFERENCES

    @cached_property
    def _world(self) -> DigitsWorld:
        return digits_world(FORGET_CLASS, derive_seed(self.seed, "world"))

    def write_inputs(self, folder: Path, recipe_lines: str) -> None:
        """Write data, architecture and audit.toml."""
        source = (files("auditor.zoo") / "digits_net.py").read_text(encoding="utf-8")
        (folder / "digits_net.py").write_text(source, encoding="utf-8")
        for name in ("forget", "retain", "retain_test", "holdout"):
            _write_examples(getattr(self._world, name), folder / f"{name}.npz")
        text = _SPEC.format(forget=FORGET_CLASS, seed=self.seed) + recipe_lines
        (folder / "audit.toml").write_text(text, encoding="utf-8")

    def makers(self) -> dict[str, Callable[[], nn.Module]]:
        """See there."""
        world, seed, recipe = self._world, self.seed, self.recipe
        return {
            "original": lambda: self._original,
            "deleted": lambda: train(build, world.retain, recipe, derive_seed(seed, "deleted")),
            "suppressed": lambda: neg_grad_plus(
                self._original, world.forget, world.retain, Settings(), derive_seed(seed, "suppressed")
            ),
        }

    @cached_property
    def _original(self) -> nn.Module:
        return train(build, self._world.train, self.recipe, derive_seed(self.seed, "original"))


def _write_examples(examples: Examples, path: Path) -> None:
    np.savez(path, images=examples.raw.numpy(), labels=examples.labels.numpy())
