"""Trains references: models that never saw the forget set, by the original's recipe."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from auditor.errors import ModelError, SpecError
from auditor.models import fingerprints
from auditor.models.fingerprints import Fingerprint, Made
from auditor.models.lineup import load_original
from auditor.models.reference_quality import Quality
from auditor.models.training import Loss, Told, Trainable, cross_entropy, train
from auditor.randomness import derive_seed
from auditor.records.spec import AuditSpec, RecipeSpec

# Two small errors that a stated recipe may hold. How far references by them spread beyond the others widens the
# interval.
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


def job(recipe: RecipeSpec, number: int, seed: int) -> Job:
    """The reference of a number, from 1; its seed does not depend on how many there are."""
    return Job(name=f"reference-{number}", recipe=recipe, seed=derive_seed(seed, "reference", number - 1))


def jobs(recipe: RecipeSpec, count: int, seed: int) -> list[Job]:
    """``count`` references by the recipe, and two by a perturbed one: a lower learning rate, a longer run."""
    plain = [job(recipe, number, seed) for number in range(1, count + 1)]
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
    retain: Trainable,
    device: str,
    loss: Loss = cross_entropy,
    told: Told = lambda done, steps: None,
) -> nn.Module:
    """Train one reference on the retain set alone."""
    return train(build, retain, job.recipe, job.seed, loss=loss, device=device, told=told)


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What references of one task are made from and how they are kept.

    Attributes:
        build: makes the network that training starts from.
        retain: the training set.
        loss: what is descended.
        keep: writes a trained network to a path.
        load: reads a network that was kept.
        file_digest: SHA-256 of the file of a network's weights, as a plan states it.
        quality: measures a network on retain and forget.
        suffix: of the path.
        notes: findings about the input.
        fingerprint: what all its references have in common.
    """

    build: Callable[[], nn.Module]
    retain: Trainable
    loss: Loss
    keep: Callable[[nn.Module, Path], None]
    load: Callable[[Path], nn.Module]
    file_digest: Callable[[Path], str]
    quality: Callable[[nn.Module], Quality]
    suffix: str
    notes: tuple[str, ...]
    fingerprint: Fingerprint

    def reference(self, job: Job, folder: Path, device: str, told: Told) -> nn.Module:
        """The network of a job: read where its file is there already, else trained and kept with its fingerprint."""
        path = folder / f"{job.name}{self.suffix}"
        if path.exists():
            return self.load(path)
        module = train_job(job, self.build, self.retain, device, self.loss, told)
        self.keep(module, path)
        # Last, since it holds the file's digest. Killed before it, a run leaves a reference that check_folder refuses.
        fingerprints.write(path, self._made(job, path))
        return module

    def _made(self, job: Job, path: Path) -> Made:
        shared, file = self.fingerprint, self.file_digest(path)
        return Made(fingerprint=shared, digest=shared.digest, trained_by=job.recipe, seed=job.seed, file=file)

    def check_folder(self, folder: Path, planned: list[Job]) -> None:
        """Refuse a folder with references that were made by anything else than this workshop.

        Raises:
            SpecError: naming the first such reference, and how it was made differently.
            ModelError: a fingerprint cannot be read, or is of another file.
        """
        recipes = {job.name: job.recipe for job in planned}
        for path in sorted(folder.glob(f"reference-*{self.suffix}")) + sorted(folder.glob(f"perturbed-*{self.suffix}")):
            # References beyond the planned ones were made by the plain recipe, too.
            self._check(path, recipes.get(path.name.removesuffix(self.suffix), self.fingerprint.recipe))

    def _check(self, path: Path, recipe: RecipeSpec) -> None:
        fix = "give another folder with --out, or delete the references in this one"
        made = fingerprints.read(path)
        if made is None:
            raise SpecError(f"{path} has no fingerprint, so nothing says that it was made as asked here; {fix}")
        asked = self.fingerprint
        changed = fingerprints.differences(made.fingerprint, asked)
        # A perturbed reference differs in its own recipe alone: the same comparison, with that in place.
        own = fingerprints.differences(
            asked.model_copy(update={"recipe": made.trained_by}), asked.model_copy(update={"recipe": recipe})
        )
        if changed or own:
            raise SpecError(f"{path} was made differently from what is asked here: {'; '.join(changed or own)}; {fix}")
        if self.file_digest(path) != made.file:
            raise ModelError(f"{path} is not the file that its fingerprint was written for; {fix}")


def original_quality(spec: AuditSpec, base: Path, shop: Workshop) -> Quality | None:
    """How the original does on the same sets; None where no path of it is given."""
    if spec.models.original is None:
        return None
    entry = load_original(spec, base, converted(spec, base))
    return shop.quality(entry.build()) if entry.build is not None else None


def converted(spec: AuditSpec, base: Path) -> Path:
    """Folder of checkpoints that were converted before."""
    return base / spec.audit.store / "converted"


# Any: what transformers and peft make, which come without types.
def save_directory(module: Any, tokenizer: Any | None, path: Path) -> None:
    """Write a transformers directory, with its tokenizer; a killed run leaves no half folder under that name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    from auditor.loading.transformers_directory import quiet

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder, quiet():
        module.save_pretrained(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        # Beside its place first: a copy is not made in one step, and a name is given in one.
        half = path.with_name(f".{path.name}.partial")
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(folder, half)
        half.replace(path)


def save(module: nn.Module, path: Path) -> None:
    """Write a state dict in one step, so that a killed run leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, under a name that no pattern of references matches.
    partial = path.with_name(f".{path.name}.partial")
    torch.save(module.state_dict(), partial)
    partial.replace(path)
