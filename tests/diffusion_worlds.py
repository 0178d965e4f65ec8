"""A small world of drawn digits, as docs/diffusion.md describes it: a diffusion model of five labels, one to forget."""

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from auditor.checks.contract_worlds import ContractWorld, contract_world
from auditor.checks.sets import evenly
from auditor.models.references import save
from auditor.randomness import derive_seed
from auditor.tasks.custom.readers import write_custom
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.diffusion.task import NAME
from auditor.zoo.diffusion.contract_world import FORGET_CLASS, SEED, SHORT
from auditor.zoo.diffusion.digits import diffusion_digits, trained
from auditor.zoo.diffusion.label_row import Settings, label_row
from auditor.zoo.diffusion.network import build
from tests.documented_world import block
from tests.shared import folder_made_once

N_REFERENCES = 2


@dataclass(frozen=True)
class DrawnWorld:
    """Models of one small world.

    Attributes:
        world: of the contract, whose original and sets these are.
        references: networks that never saw the digit.
        suppressed: the original without the digit's row in the table of labels.
    """

    world: ContractWorld
    references: tuple[nn.Module, ...]
    suppressed: nn.Module

    def subject(self, module: nn.Module) -> CustomModel:
        return self.world.subject(module)


def write_drawn_world(folder: Path) -> None:
    """The documented files: directories of diffusers for original and subject, references, sets and code."""
    found = contract_world(NAME)
    for name, module in (("original", found.original), ("unlearned", suppressed_of(found))):
        copy.deepcopy(module).save_pretrained(folder / name)
    world = diffusion_digits(FORGET_CLASS, SEED)
    for number in range(1, N_REFERENCES + 1):
        reference = trained(world["retain"], derive_seed(5, f"reference {number}"), SHORT)
        save(reference, folder / f"references/reference-{number}.pt")
    (folder / "network.py").write_text(block("docs/diffusion.md", '"""The audited network'), encoding="utf-8")
    (folder / "audit.toml").write_text(block("docs/diffusion.md", "[models]"), encoding="utf-8")
    sets = {"forget": found.data.forget, "retain": found.data.retain, "holdout": found.data.holdout}
    for name, examples in {**sets, "retain_test": evenly(world["retain_test"], 40)}.items():
        write_custom(examples, folder / f"{name}.npz")


def suppressed_of(found: ContractWorld) -> nn.Module:
    return label_row(found.original, found.data.forget, found.data.retain, Settings(), 0)


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_made_once(tmp_path_factory, "drawn-digits", write_drawn_world)


@pytest.fixture(scope="session")
def drawn(drawn_folder: Path) -> DrawnWorld:
    def read(path: Path) -> nn.Module:
        module = build()
        module.load_state_dict(torch.load(path, weights_only=True))
        return module.eval()

    paths = sorted((drawn_folder / "references").glob("*.pt"))
    found = contract_world(NAME)
    return DrawnWorld(found, tuple(map(read, paths)), suppressed_of(found))
