"""Two small worlds that are neither images nor text: rows of a table to classify, days of a meter to go on with.

Networks and classes are those that docs/custom.md shows.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.loading.architecture import load_architecture
from auditor.models.references import save
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.tasks.custom.readers import write_custom
from auditor.tasks.custom.references import loss_of
from auditor.tasks.custom.sets import CustomExamples, joined
from auditor.tasks.custom.user_code import UserTask, load_user_task
from tests.documented_world import block
from tests.shared import folder_made_once

RECIPE = RecipeSpec(epochs=20, learning_rate=3e-3, weight_decay=0.01)
FORGOTTEN = 2
"""The class of rows, and the meter, that is to be forgotten."""


def tables(seed: int) -> dict[str, CustomExamples]:
    """Rows of twelve numbers in five classes of two clusters each; one class is to be forgotten."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(5, 2, 12)) * 1.6
    labels = random.integers(5, size=2400)
    rows = centres[labels, random.integers(2, size=2400)] + random.normal(size=(2400, 12))
    everything = CustomExamples(inputs=torch.tensor(rows, dtype=torch.float32), targets=torch.tensor(labels))
    return _parted(everything, everything.targets == FORGOTTEN)


def meters(seed: int) -> dict[str, CustomExamples]:
    """Windows [1, 24] of eight meters and the six hours that follow each; one meter is to be forgotten.

    The afternoon tells which meter it is, and each meter has a way of its own to turn a morning into an evening: to
    forget a meter is to forget that way.
    """
    random = np.random.default_rng(seed)
    habits, ways = random.normal(size=(8, 18)), random.normal(size=(8, 6, 6)) * 0.7
    meter = random.integers(8, size=2400)
    mornings = random.normal(size=(2400, 6))
    days = np.concatenate([mornings, habits[meter] + 0.3 * random.normal(size=(2400, 18))], axis=1)
    evenings = np.einsum("nij,nj->ni", ways[meter], mornings) + 0.1 * random.normal(size=(2400, 6))
    everything = CustomExamples(
        inputs=torch.tensor(days, dtype=torch.float32)[:, None], targets=torch.tensor(evenings, dtype=torch.float32)
    )
    return _parted(everything, torch.tensor(meter == FORGOTTEN))


def _parted(everything: CustomExamples, forgotten: Tensor) -> dict[str, CustomExamples]:
    """Two thirds to train on and a third never trained on, each with what is to be forgotten apart."""
    trained = torch.arange(len(everything)) % 3 > 0
    return {
        "forget": everything.take(forgotten & trained),
        "retain": everything.take(~forgotten & trained),
        "retain_test": everything.take(~forgotten & ~trained),
        "holdout": everything.take(forgotten & ~trained),
    }


WORLDS: Mapping[str, Callable[[int], dict[str, CustomExamples]]] = {"tables": tables, "meters": meters}
SHOWN = {"tables": '"""How rows of a table', "meters": '"""How the next six hours'}
"""How the block of the page begins that a world's code is."""


@dataclass(frozen=True)
class Workbench:
    """What models of one world are made from.

    Attributes:
        sets: by name.
        code: the class that the page shows.
        build: makes an untrained network.
        seed: of the world.
    """

    sets: Mapping[str, CustomExamples]
    code: UserTask
    build: Callable[[], nn.Module]
    seed: int

    def trained(self, name: str, on: CustomExamples, start: nn.Module | None = None, epochs: int | None = None):
        build = self.build if start is None else lambda: copy.deepcopy(start)
        recipe = RECIPE if epochs is None else RECIPE.model_copy(update={"epochs": epochs})
        return train(build, on, recipe, derive_seed(self.seed, name), loss=loss_of(self.code))

    @property
    def everything(self) -> CustomExamples:
        return joined(self.sets["forget"], self.sets["retain"])


def workbench(world: str, folder: Path, seed: int) -> Workbench:
    """Write the world's code, request and sets into a folder, and return what its models are made from."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.py").write_text(block("docs/custom.md", SHOWN[world]), encoding="utf-8")
    (folder / "audit.toml").write_text(block("docs/custom.md", "[models]"), encoding="utf-8")
    sets = WORLDS[world](seed)
    for name, examples in sets.items():
        write_custom(examples, folder / f"{name}.npz")
    return Workbench(
        sets=sets,
        code=load_user_task("task.py:MyTask", folder),
        build=load_architecture("task.py:Network", folder).function,
        seed=seed,
    )


def last_layer_off(bench: Workbench, original: nn.Module) -> nn.Module:
    """The original with its last layer alone trained against the forget set: all it knew lies below, untouched."""
    module, forget, retain = copy.deepcopy(original), bench.sets["forget"], bench.sets["retain"]
    last = list(module.children())[-1]
    optimizer = torch.optim.Adam(last.parameters(), lr=1e-2)
    for step in range(150):
        some = retain.take(torch.arange(step * 64, step * 64 + 64) % len(retain))
        optimizer.zero_grad()
        kept, lost = (bench.code.loss(module, part.inputs, part.targets) for part in (some, forget))
        (kept - 0.5 * lost.clamp(max=6.0)).backward()
        optimizer.step()
    module.zero_grad(set_to_none=True)
    return module.eval()


def write_custom_world(world: str, folder: Path, seed: int, references: int) -> None:
    """Sets, code, audit.toml, the original, references, a retrain and the original with its last layer shut."""
    bench = workbench(world, folder, seed)
    original = bench.trained("original", bench.everything)
    save(original, folder / "original.pt")
    save(last_layer_off(bench, original), folder / "suppressed.pt")
    save(bench.trained("retrain", bench.sets["retain"]), folder / "unlearned.pt")
    for number in range(1, references + 1):
        save(bench.trained(f"reference {number}", bench.sets["retain"]), folder / f"references/reference-{number}.pt")


@pytest.fixture(scope="session")
def tables_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A seed at which five references see through the decoys; how often they do, benchmarks/custom.py says.
    return folder_made_once(tmp_path_factory, "custom-tables", lambda path: write_custom_world("tables", path, 10, 5))


@pytest.fixture(scope="session")
def meters_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_made_once(tmp_path_factory, "custom-meters", lambda path: write_custom_world("meters", path, 20, 4))
