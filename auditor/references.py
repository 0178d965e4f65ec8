"""Trains references: models that never saw the forget set, by the original's recipe."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from auditor import inputs
from auditor.data import Preprocessing
from auditor.errors import SpecError
from auditor.fact_files import read_facts
from auditor.facts import drop_leaks
from auditor.loading.architecture import load_architecture
from auditor.loading.tokenizers import load_tokenizer
from auditor.loading.transformers_directory import load_directory, quiet, task_of
from auditor.randomness import derive_seed
from auditor.spec import AuditSpec, RecipeSpec
from auditor.subjects.encoding import Encoder
from auditor.training import Loss, Trainable, answers_of, continue_from, cross_entropy, train

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
    job: Job, build: Callable[[], nn.Module], retain: Trainable, device: str, loss: Loss = cross_entropy
) -> nn.Module:
    """Train one reference on the retain set alone."""
    return train(build, retain, job.recipe, job.seed, loss=loss, device=device)


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What references of one task are made from and how they are kept.

    Attributes:
        build: makes the network that training starts from.
        retain: the training set.
        loss: what is descended.
        keep: writes a trained network to a path.
        suffix: of that path.
        notes: findings about the input.
    """

    build: Callable[[], nn.Module]
    retain: Trainable
    loss: Loss
    keep: Callable[[nn.Module, Path], None]
    suffix: str
    notes: tuple[str, ...]


def workshop(spec: AuditSpec, base: Path) -> Workshop:
    """The workshop of a request: language models where a transformers directory of one is named, else classifiers.

    Raises:
        SpecError: a field that is needed is not given.
    """
    ground = spec.models.base or spec.models.original
    if ground is not None and (base / ground).is_dir() and task_of(base / ground) == "causal-lm":
        return _texts(spec, base, ground)
    return _images(spec, base)


def _images(spec: AuditSpec, base: Path) -> Workshop:
    if spec.models.architecture is None or spec.data.forget is None or spec.data.retain is None:
        raise SpecError(
            "audit reference needs models.architecture, data.forget and data.retain; set them in audit.toml"
        )
    architecture = load_architecture(spec.models.architecture, base)
    shape = Preprocessing(resize=spec.data.resize, mean=spec.data.mean, std=spec.data.std)
    found = inputs.gather(spec, {}, base, shape)
    assert found is not None, "forget and retain are given"
    return Workshop(
        build=architecture.function,
        retain=found.sets["retain"],
        loss=cross_entropy,
        keep=save,
        suffix=".pt",
        notes=found.notes,
    )


def _texts(spec: AuditSpec, base: Path, ground: str) -> Workshop:
    """From models.base where it is given; else from initial weights of the original's architecture."""
    if spec.data.forget is None or spec.data.retain is None:
        raise SpecError("audit reference needs data.forget and data.retain; set them in audit.toml")
    sets = {"forget": read_facts(spec.data.forget, base), "retain": read_facts(spec.data.retain, base)}
    notes = drop_leaks(sets)
    start: Any = load_directory(base / ground).module
    tokenizer = load_tokenizer(base / (spec.models.tokenizer or ground))
    return Workshop(
        build=continue_from(start) if spec.models.base is not None else lambda: type(start)(start.config),
        retain=sets["retain"],
        loss=answers_of(Encoder(tokenizer, spec.data.template, spec.data.chat_template)),
        keep=lambda module, path: save_directory(module, tokenizer, path),
        suffix="",
        notes=tuple(notes),
    )


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
