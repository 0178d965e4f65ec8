"""The world that README and docs speak of: every file that their blocks name, made from the demo's digits."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from auditor.cli import main
from auditor.demo.run import make_world, world_of
from auditor.tasks.causal_lm.readers import write_facts
from auditor.zoo.digits_net import build
from auditor.zoo.text.people import people_world
from tests.shared import folder_made_once

ROOT = Path(__file__).parent.parent
NAMES = {"deleted.pt": ("unlearned.pt", "candidate.pt", "received.pt"), "digits_net.py": ("network.py",)}
"""What the blocks call the demo's files."""
CHECKS = '\n[audit]\nchecks = ["few_shot", "relearning", "slow_relearning"]\n'
"""What a block that names no checks is run with: all of them would take minutes and show nothing more of the block."""
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of every block of a page, in order."""
    return _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def write_world(folder: Path) -> None:
    """The demo's models and data under the names that the blocks use, without an audit.toml."""
    make_world(world_of("classification", 0), folder, lambda words: None)
    write_facts(people_world(0, forget=6, retain=0, holdout=0).forget, folder / "pool.jsonl")
    with np.load(folder / "forget.npz") as forget, np.load(folder / "retain.npz") as retain:
        whole = {key: np.concatenate([forget[key], retain[key]]) for key in ("images", "labels")}
    np.savez(folder / "everything.npz", **whole)
    for source, names in NAMES.items():
        for name in names:
            shutil.copy(folder / source, folder / name)
    (folder / "audit.toml").unlink()


def block(page: str, start: str) -> str:
    """The one block of a page that starts so."""
    (found,) = [text for _, text in blocks(page) if text.startswith(start)]
    return found


@pytest.fixture(scope="session")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world, references of a perturbed recipe too, and the scores of the README's audit; to be copied."""

    def make(folder: Path) -> None:
        write_world(folder)
        config = folder / "audit.toml"
        config.write_text(block("README.md", "[models]\nreferences") + CHECKS, encoding="utf-8")
        given = ("--config", str(config), "--quiet")
        made = CliRunner().invoke(main, ["reference", *given, "--out", str(folder / "references")])
        assert made.exit_code == 0, made.output
        pair = [str(folder / name) for name in ("original.pt", "unlearned.pt")]
        audited = CliRunner().invoke(main, ["compare", *pair, *given])
        assert audited.exit_code == 0, audited.output
        shutil.rmtree(folder / "audit-out")
        config.unlink()

    return folder_made_once(tmp_path_factory, "documented", make)


def in_memory(folder: Path) -> dict[str, object]:
    """What the README's Python call has in variables: networks and (inputs, labels)."""

    def network(path: Path) -> torch.nn.Module:
        module = build()
        module.load_state_dict(torch.load(path, weights_only=True))
        return module.eval()

    def examples(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        held = np.load(folder / f"{name}.npz")
        return torch.tensor(held["images"]), torch.tensor(held["labels"])

    found: dict[str, object] = {name: network(folder / f"{name}.pt") for name in ("original", "unlearned")}
    found["references"] = [network(path) for path in sorted((folder / "references").glob("reference-*.pt"))]
    return found | {name: examples(name) for name in ("forget", "retain", "retain_test", "holdout")}
