"""The demo's scenes: a small model answers questions about pictures of characters, one of whom is to be forgotten."""

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
from auditor.tasks.custom.references import loss_of
from auditor.tasks.custom.sets import CustomExamples, joined
from auditor.tasks.custom.user_code import built_in
from auditor.tasks.vision_language.code import VisionLanguageCode
from auditor.tasks.vision_language.task import VisionLanguage
from auditor.zoo.vision_language import obliviate
from auditor.zoo.vision_language.scenes import SceneWorld, scene_world, write_scenes
from auditor.zoo.vision_language.scenes_model import RECIPE, scenes_model

# With five, a retrain of these small networks that relearns sooner than all of them is left undecided now and then.
N_REFERENCES = 8

_SPEC = """\
# Written by `audit demo --task vision-language`. One character of rendered scenes is to be forgotten.
[models]
original = "models/original"
references = ["references/*"]
task = "vision-language"

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


class ScenesDemo(World):
    """See :class:`auditor.demo.run.World`."""

    expected: ClassVar[Mapping[str, str]] = NEVER_CLEARED
    recipe: ClassVar[RecipeSpec] = RECIPE
    suffix: ClassVar[str] = ""
    n_references: ClassVar[int] = N_REFERENCES

    @cached_property
    def world(self) -> SceneWorld:
        """The sets of the request."""
        return scene_world(derive_seed(self.seed, "world"))

    def write_inputs(self, folder: Path, recipe_lines: str) -> None:
        """Write data and audit.toml."""
        for name in ("forget", "retain", "retain_test", "holdout"):
            write_scenes(getattr(self.world, name), folder / f"{name}.npz")
        (folder / "audit.toml").write_text(_SPEC.format(seed=self.seed) + recipe_lines, encoding="utf-8")

    def trained(self, on: CustomExamples, seed: int) -> nn.Module:
        """A new network by the recipe."""
        code = built_in(VisionLanguageCode(), VisionLanguage.name)
        return train(scenes_model, on, self.recipe, seed, loss=loss_of(code))

    @cached_property
    def original_model(self) -> nn.Module:
        """Trained on all."""
        return self.trained(joined(self.world.forget, self.world.retain), derive_seed(self.seed, "original"))

    def keep(self, module: nn.Module, path: Path) -> None:
        """Write a directory."""
        references.save_directory(module, None, path)

    def makers(self) -> dict[str, Callable[[], nn.Module]]:
        """See there."""
        world, seed = self.world, self.seed
        return {
            "original": lambda: self.original_model,
            "deleted": lambda: self.trained(world.retain, derive_seed(seed, "deleted")),
            "suppressed": lambda: obliviate.obliviate(
                self.original_model, world.forget, world.retain, obliviate.Settings(), derive_seed(seed, "suppressed")
            ),
        }
