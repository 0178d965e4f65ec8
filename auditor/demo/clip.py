"""The demo's drawn digits: a small CLIP learns digits drawn in three ways, one of which is to be forgotten."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from torch import nn

from auditor.demo.run import EXPECTED
from auditor.models import references
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.records.spec import FILE_NAME, RecipeSpec, make_spec, read_spec
from auditor.tasks import registry
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


class ClipDemo:
    """See :class:`auditor.demo.run.World`.

    Args:
        seed: every random choice derives from it.
    """

    original = "models/original"
    subjects = {"suppressed": "models/suppressed", "deleted": "models/deleted"}  # noqa: RUF012 - never written to
    expected = EXPECTED
    recipe: RecipeSpec = world.RECIPE

    def __init__(self, seed: int) -> None:
        self._seed = seed

    @cached_property
    def _world(self) -> world.DrawnDigits:
        return world.drawn_digits(FORGOTTEN, derive_seed(self._seed, "world"))

    def write_inputs(self, folder: Path, recipe_lines: str) -> None:
        """Write data and audit.toml."""
        for name in ("forget", "retain", "retain_test"):
            write_custom(self._world.sets[name], folder / f"{name}.npz")
        text = _SPEC.format(forgotten=FORGOTTEN, seed=self._seed) + recipe_lines
        (folder / "audit.toml").write_text(text, encoding="utf-8")

    def make_models(self, folder: Path, say: Callable[[str], None]) -> None:
        """Train every model that is not there yet."""
        for name, how in self._makers().items():
            if not (folder / name).is_dir():
                say(f"training {name}")
                references.save_directory(how(), world.tokenizer(), folder / name)
        # As `audit reference` does, so that they carry what made them.
        workshop = registry.workshop(make_spec(read_spec(folder / FILE_NAME), {}), folder)
        # Without the two of a perturbed recipe, which stand last.
        for job in references.jobs(self.recipe, N_REFERENCES, self._seed)[:N_REFERENCES]:
            if not (folder / "references" / job.name).is_dir():
                say(f"training references/{job.name}")
            workshop.reference(job, folder / "references", "cpu", lambda done, steps: None)

    def _makers(self) -> dict[str, Callable[[], nn.Module]]:
        drawn, seed = self._world, self._seed
        forget, retain = drawn.sets["forget"], drawn.sets["retain"]
        return {
            "models/original": lambda: self._original,
            "models/deleted": lambda: self._trained("deleted", on_everything=False),
            "models/suppressed": lambda: caption_tuning(
                self._original, forget, retain, Settings(), derive_seed(seed, "suppressed")
            ),
        }

    @cached_property
    def _original(self) -> nn.Module:
        return self._trained("original", on_everything=True)

    def _trained(self, name: str, *, on_everything: bool) -> nn.Module:
        examples = self._world.everything if on_everything else self._world.sets["retain"]
        return train(world.small_clip, examples, self.recipe, derive_seed(self._seed, name), loss=self._world.loss)
