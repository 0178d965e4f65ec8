"""The demo's tastes: a small recommender is to forget all that one group of users ever did."""

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

from torch import nn

from auditor.demo.run import NEVER_CLEARED, World
from auditor.randomness import derive_seed
from auditor.records.spec import FILE_NAME, RecipeSpec
from auditor.tasks.recommender.readers import write_inter
from auditor.zoo.recommender.rows import PushSettings, users_pushed
from auditor.zoo.recommender.world import FORGOTTEN, RECIPE, TasteWorld, taste_world

N_REFERENCES = 8

_SPEC = """\
# Written by `audit demo --task recommender`. All that the users of group {forgotten} did is to be forgotten.
[models]
original = "original.pt"
references = ["references/*.pt"]
architecture = "lightgcn_net.py:build"
arguments = {{ users = {users}, items = {items}, width = {width} }}
task = "recommender"

[data]
forget = "forget.inter"
retain = "retain.inter"
holdout = "holdout.inter"

[request]
kind = "class"

[audit]
seed = {seed}

[recipe]
"""


class TastesDemo(World):
    """See :class:`auditor.demo.run.World`."""

    expected: ClassVar[Mapping[str, str]] = NEVER_CLEARED
    recipe: ClassVar[RecipeSpec] = RECIPE
    n_references: ClassVar[int] = N_REFERENCES

    @cached_property
    def _world(self) -> TasteWorld:
        return taste_world(derive_seed(self.seed, "world"))

    def write_inputs(self, folder: Path, recipe_lines: str) -> None:
        """Write interactions, architecture and audit.toml."""
        source = (files("auditor.zoo.recommender") / "lightgcn_net.py").read_text(encoding="utf-8")
        (folder / "lightgcn_net.py").write_text(source, encoding="utf-8")
        # Not retain_test: of so few items too few stand in the first tenth for what was never trained on.
        for name in ("forget", "retain", "holdout"):
            write_inter(self._world.sets[name].inputs.numpy(), folder / f"{name}.inter")
        text = _SPEC.format(forgotten=FORGOTTEN, seed=self.seed, **self._world.arguments) + recipe_lines
        (folder / FILE_NAME).write_text(text, encoding="utf-8")

    def makers(self) -> dict[str, Callable[[], nn.Module]]:
        """See there."""
        world, seed = self._world, self.seed
        forget, retain = world.sets["forget"], world.sets["retain"]
        return {
            "original": lambda: self._original,
            "deleted": lambda: world.trained(retain, derive_seed(seed, "deleted")),
            "suppressed": lambda: users_pushed(
                self._original, forget, retain, PushSettings(), derive_seed(seed, "suppressed")
            ),
        }

    @cached_property
    def _original(self) -> nn.Module:
        return self._world.trained(self._world.everything, derive_seed(self.seed, "original"))
