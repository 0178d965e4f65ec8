"""The demo's drawn digits: a small CLIP learns digits drawn in three ways, one of which is to be forgotten."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from torch import nn

from auditor.demo.run import NEVER_CLEARED, World
from auditor.models import references
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.tasks.custom.readers import write_custom
from auditor.zoo.clip import drawn_digits as world
from auditor.zoo.clip.gradient_difference import Settings, caption_tuning

FORGOTTEN = "sketched"
# With five, relearning saw too coarsely to clear a retrain.
N_REFERENCES = 8

_SPEC = """\
# Written by `audit demo --task clip`. A small CLIP is to forget digits that are {forgotten}.
[models]
original = "models/original"
references = ["references/reference-*"]
task = "clip"

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


class ClipDemo(World):
    """See :class:`auditor.demo.run.World`."""

    expected: ClassVar[Mapping[str, str]] = NEVER_CLEARED
    recipe: ClassVar[RecipeSpec] = world.RECIPE
    suffix: ClassVar[str] = ""
    n_references: ClassVar[int] = N_REFERENCES

    @cached_property
    def _world(self) -> world.DrawnDigits:
        return world.drawn_digits(FORGOTTEN, derive_seed(self.seed, "world"))

    def write_inputs(self, folder: Path, recipe_lines: str) -> None:
        """Write data and audit.toml."""
        for name in ("forget", "retain", "retain_test"):
            write_custom(self._world.sets[name], folder / f"{name}.npz")
        text = _SPEC.format(forgotten=FORGOTTEN, seed=self.seed) + recipe_lines
        (folder / "audit.toml").write_text(text, encoding="utf-8")

    def keep(self, module: nn.Module, path: Path) -> None:
        """Write a directory with the captions' tokenizer."""
        references.save_directory(module, world.tokenizer(), path)

    def makers(self) -> dict[str, Callable[[], nn.Module]]:
        """See there."""
        drawn, seed = self._world, self.seed
        forget, retain = drawn.sets["forget"], drawn.sets["retain"]
        return {
            "original": lambda: self._original,
            "deleted": lambda: self._trained("deleted", on_everything=False),
            "suppressed": lambda: caption_tuning(
                self._original, forget, retain, Settings(), derive_seed(seed, "suppressed")
            ),
        }

    @cached_property
    def _original(self) -> nn.Module:
        return self._trained("original", on_everything=True)

    def _trained(self, name: str, *, on_everything: bool) -> nn.Module:
        examples = self._world.everything if on_everything else self._world.sets["retain"]
        return train(world.small_clip, examples, self.recipe, derive_seed(self.seed, name), loss=self._world.loss)
