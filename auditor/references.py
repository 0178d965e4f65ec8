"""Trains references: models that never saw the forget set, by the original's recipe."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from auditor.data import Examples
from auditor.loading.transformers_directory import quiet
from auditor.randomness import derive_seed
from auditor.spec import RecipeSpec
from auditor.training import train

_SLOWER = 0.5
_LONGER = 1.5


@dataclass(frozen=True, kw_only=True)
class Job:
    """One model to train.

    Attributes:
        name: of its file, without suffix.
        recipe: how.
        seed: of initial weights and order.
    """

    name: str
    recipe: RecipeSpec
    seed: int


def jobs(recipe: RecipeSpec, count: int, seed: int) -> list[Job]:
    """``count`` references by the recipe, and two by a perturbed one: a lower learning rate, a longer run."""
    plain = [
        Job(name=f"reference-{i + 1}", recipe=recipe, seed=derive_seed(seed, "reference", i)) for i in range(count)
    ]
    slower = recipe.model_copy(update={"learning_rate": recipe.learning_rate * _SLOWER})
    longer = recipe.model_copy(update={"epochs": round(recipe.epochs * _LONGER)})
    perturbed = [
        Job(name=f"perturbed-{i + 1}", recipe=changed, seed=derive_seed(seed, "perturbed", i))
        for i, changed in enumerate((slower, longer))
    ]
    return plain + perturbed


def train_job(
    job: Job,
    build: Callable[[], nn.Module],
    retain: Examples,
    device: str,
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> nn.Module:
    """Train one reference on the retain set alone."""
    return train(build, retain, job.recipe, job.seed, device=device, after_epoch=after_epoch)


def save_directory(module: Any, tokenizer: Any, path: Path) -> None:
    """Write a transformers directory with its tokenizer; a killed run leaves no half folder under that name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder, quiet():
        module.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        shutil.copytree(folder, path)


def save(module: nn.Module, path: Path) -> None:
    """Write a state dict in one step, so that a killed run leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    torch.save(module.state_dict(), partial)
    partial.replace(path)
