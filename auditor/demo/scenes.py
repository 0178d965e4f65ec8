"""The demo's scenes: a small model answers questions about pictures of characters, one of whom is to be forgotten."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from torch import nn

from auditor.demo.run import NEVER_CLEARED
from auditor.models import references
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.records.spec import FILE_NAME, RecipeSpec, make_spec, read_spec
from auditor.tasks import registry
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


class ScenesDemo:
    """See :class:`auditor.demo.run.World`.

    Args:
        seed: every random choice derives from it.
    """

    original = "models/original"
    subjects = {"suppressed": "models/suppressed", "deleted": "models/deleted"}  # noqa: RUF012 - never written to
    expected = NEVER_CLEARED
    recipe: RecipeSpec = RECIPE

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @cached_property
    def world(self) -> SceneWorld:
        """The sets of the request."""
        return scene_world(derive_seed(self.seed, "world"))

    def write_inputs(self, folder: Path, recipe_lines: str) -> None:
        """Write data and audit.toml."""
        for name in ("forget", "retain", "retain_test", "holdout"):
            write_scenes(getattr(self.world, name), folder / f"{name}.npz")
        (folder / "audit.toml").write_text(_SPEC.format(seed=self.seed) + recipe_lines, encoding="utf-8")

    def make_models(self, folder: Path, say: Callable[[str], None]) -> None:
        """Train every model that is not there yet."""
        for name, how in self._makers().items():
            path = folder / name
            if not path.is_dir():
                say(f"training {name}")
                references.save_directory(how(), None, path)
        # As `audit reference` does, so that they carry what made them.
        workshop = registry.workshop(make_spec(read_spec(folder / FILE_NAME), {}), folder)
        # Without the two of a perturbed recipe, which stand last.
        for job in references.jobs(self.recipe, N_REFERENCES, self.seed)[:N_REFERENCES]:
            if not (folder / "references" / job.name).is_dir():
                say(f"training references/{job.name}")
            workshop.reference(job, folder / "references", "cpu", lambda done, steps: None)

    def trained(self, on: CustomExamples, seed: int) -> nn.Module:
        """A new network by the recipe."""
        code = built_in(VisionLanguageCode(), VisionLanguage.name)
        return train(scenes_model, on, self.recipe, seed, loss=loss_of(code))

    @cached_property
    def original_model(self) -> nn.Module:
        """Trained on all."""
        return self.trained(joined(self.world.forget, self.world.retain), derive_seed(self.seed, "original"))

    def _makers(self) -> dict[str, Callable[[], nn.Module]]:
        world, seed = self.world, self.seed
        return {
            "models/original": lambda: self.original_model,
            "models/deleted": lambda: self.trained(world.retain, derive_seed(seed, "deleted")),
            "models/suppressed": lambda: obliviate.obliviate(
                self.original_model, world.forget, world.retain, obliviate.Settings(), derive_seed(seed, "suppressed")
            ),
        }
