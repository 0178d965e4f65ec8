"""A small CLIP of drawn digits that is to forget sketches: original, references and a retrain as directories."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from torch import nn

from auditor.loading.transformers_directory import load_directory
from auditor.models.references import save_directory
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.tasks.clip.subject import DualEncoder
from auditor.tasks.custom.readers import write_custom
from auditor.tasks.custom.utility import Judge
from auditor.zoo.clip.contract import layout_of, sets_of
from auditor.zoo.clip.drawn_digits import RECIPE, DrawnDigits, drawn_digits, small_clip, tokenizer
from tests.documented_world import block
from tests.shared import folder_made_once

SEED = 2
N_REFERENCES = 3
# Half of what the demo's models are trained for: enough to know the domain, and cheap.
SHORT = RECIPE.model_copy(update={"epochs": 10})
NAMES = ("original", "retrain", *(f"references/reference-{i}" for i in range(1, N_REFERENCES + 1)))


@dataclass(frozen=True)
class ClipWorld:
    folder: Path

    @cached_property
    def drawn(self) -> DrawnDigits:
        return drawn_digits("sketched", SEED)

    @cached_property
    def data(self):
        return sets_of(self.drawn, SEED)

    @cached_property
    def original(self) -> nn.Module:
        return self.network("original")

    def network(self, name: str) -> nn.Module:
        return load_directory(self.folder / name).module

    @cached_property
    def _structure(self):
        return layout_of(self.drawn, self.original), Judge.by(self.drawn.code, self.original, self.drawn.sets["retain"])

    def subject(self, module: nn.Module) -> DualEncoder:
        layout, judge = self._structure
        return DualEncoder(module, role="subject", digest="subject", layout=layout, data=self.data, judge=judge)


def write_clip_world(folder: Path) -> None:
    world = drawn_digits("sketched", SEED)
    for name, examples in world.sets.items():
        write_custom(examples, folder / f"{name}.npz")
    for name in NAMES:
        on = world.everything if name == "original" else world.sets["retain"]
        made = train(small_clip, on, SHORT, derive_seed(SEED, name), loss=world.loss)
        save_directory(made, tokenizer(), folder / name)
    text = (
        block("docs/clip.md", "[models]").replace("models/original", "original").replace("models/unlearned", "retrain")
    )
    (folder / "audit.toml").write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def clip_world(tmp_path_factory: pytest.TempPathFactory) -> ClipWorld:
    def make(folder: Path) -> None:
        folder.mkdir()
        write_clip_world(folder)

    return ClipWorld(folder_made_once(tmp_path_factory, "clip-sketched", make))
