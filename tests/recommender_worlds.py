"""A tiny world of tastes: a trained original, references, a retrain, and copies that hide what they know."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from auditor.checks.contract_worlds import ContractWorld, contract_world
from auditor.models.references import save
from auditor.randomness import derive_seed
from auditor.tasks.recommender.readers import write_inter
from auditor.zoo import catalogue
from auditor.zoo.recommender import lightgcn_net
from auditor.zoo.recommender.world import Sizes, TasteWorld, taste_world
from tests.documented_world import block
from tests.shared import folder_made_once, made_once

SEED = 3
TINY = Sizes(groups=4, users=12, items=14, own=10, others=4, width=12)
N_REFERENCES = 4
NETWORK = Path(lightgcn_net.__file__).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Tastes:
    """Models of one world, by name."""

    world: TasteWorld
    modules: dict[str, nn.Module]

    def made(self, name: str, **values: object) -> nn.Module:
        entry, sets = catalogue.entry(name, "recommender"), self.world.sets
        return entry.make(self.modules["original"], sets["forget"], sets["retain"], entry.settings(values), 5)


def make() -> Tastes:
    world = taste_world(SEED, TINY)
    retain = world.sets["retain"]
    modules = {"original": world.trained(world.everything, derive_seed(SEED, "original"))}
    for name in ("retrain", *(f"reference-{i}" for i in range(1, N_REFERENCES + 1))):
        modules[name] = world.trained(retain, derive_seed(SEED, name))
    return Tastes(world, modules)


@pytest.fixture(scope="session")
def tastes(tmp_path_factory: pytest.TempPathFactory) -> Tastes:
    return made_once(tmp_path_factory, "tastes", make)


@pytest.fixture(scope="session")
def tastes_folder(tastes: Tastes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as the page's files; to be copied."""

    def write(folder: Path) -> None:
        folder.mkdir()
        sizes = ", ".join(f"{name} = {value}" for name, value in tastes.world.arguments.items())
        text = block("docs/recommender.md", "[models]").replace("users = 180, items = 180, width = 32", sizes)
        # Of so few items too few stand in the first tenth for what was never trained on.
        text = text.replace('retain_test = "retain_test.inter"\n', "")
        (folder / "audit.toml").write_text(text, encoding="utf-8")
        (folder / "lightgcn_net.py").write_text(NETWORK, encoding="utf-8")
        for name, examples in tastes.world.sets.items():
            write_inter(examples.inputs.numpy(), folder / f"{name}.inter")
        for name, module in tastes.modules.items():
            save(module, folder / ("references" if name.startswith("ref") else "") / f"{name}.pt")
        save(tastes.modules["retrain"], folder / "unlearned.pt")
        save(tastes.made("bpr_ascent", edges=True, steps=100), folder / "ascent.pt")

    return folder_made_once(tmp_path_factory, "tastes-folder", write)


def checked(tastes: Tastes) -> ContractWorld:
    """The contract's world with these models' sets in halves."""
    found = contract_world("recommender")
    sets = tastes.world.sets
    half = torch.arange(len(sets["forget"])) % 2 == 0
    return found.with_data(
        forget_attack=sets["forget"].take(half),
        forget_eval=sets["forget"].take(~half),
        retain=sets["retain"],
        holdout=sets["holdout"],
    )
