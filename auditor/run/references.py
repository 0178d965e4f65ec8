"""Trains references: models that never saw the forget set, by the original's recipe."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from auditor import __version__, inputs
from auditor.data import Preprocessing
from auditor.digests import file_digest
from auditor.errors import ModelError, SpecError
from auditor.fact_files import read_facts
from auditor.facts import drop_leaks
from auditor.loading.architecture import load_architecture
from auditor.loading.checkpoints import build_module, load_weights
from auditor.loading.tokenizers import load_tokenizer
from auditor.loading.transformers_directory import load_directory, quiet, task_of
from auditor.models import fingerprints
from auditor.models.fingerprints import Fingerprint, Made
from auditor.models.lineup import load_original
from auditor.models.training import Loss, Told, Trainable, answers_of, continue_from, cross_entropy, train
from auditor.randomness import derive_seed
from auditor.records.spec import AuditSpec, RecipeSpec
from auditor.run.reference_quality import Quality, of_classifier, of_language_model
from auditor.subjects.encoding import Encoder

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
            self._check(path, recipes.get(path.name.removesuffix(self.suffix), self.fingerprint.recipe))

    def _check(self, path: Path, recipe: RecipeSpec) -> None:
        fix = "give another folder with --out, or delete the references in this one"
        made = fingerprints.read(path)
        if made is None:
            raise SpecError(f"{path} has no fingerprint, so nothing says that it was made as asked here; {fix}")
        asked = self.fingerprint
        changed = fingerprints.differences(made.fingerprint, asked)
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
    entry = load_original(spec, base, _converted(spec, base))
    return shop.quality(entry.build()) if entry.build is not None else None


def _converted(spec: AuditSpec, base: Path) -> Path:
    return base / spec.audit.store / "converted"


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
        load=lambda path: build_module(architecture.function, load_weights(path, _converted(spec, base)), str(path)),
        file_digest=file_digest,
        quality=of_classifier(found.sets["retain"], found.sets["forget"], spec.audit.batch_size, spec.audit.device),
        suffix=".pt",
        notes=found.notes,
        fingerprint=Fingerprint(
            recipe=spec.recipe,
            retain=found.sets["retain"].digest,
            architecture=architecture.source_digest,
            auditor_version=__version__,
        ),
    )


def _texts(spec: AuditSpec, base: Path, ground: str) -> Workshop:
    """From models.base where it is given; else from initial weights of the original's architecture."""
    if spec.data.forget is None or spec.data.retain is None:
        raise SpecError("audit reference needs data.forget and data.retain; set them in audit.toml")
    sets = {"forget": read_facts(spec.data.forget, base), "retain": read_facts(spec.data.retain, base)}
    notes = drop_leaks(sets)
    loaded = load_directory(base / ground)
    start: Any = loaded.module
    tokenizer = load_tokenizer(base / (spec.models.tokenizer or ground))
    encoder = Encoder(tokenizer, spec.data.template, spec.data.chat_template)
    continued = spec.models.base is not None
    return Workshop(
        build=continue_from(start) if continued else lambda: type(start)(start.config),
        retain=sets["retain"],
        loss=answers_of(encoder),
        keep=lambda module, path: save_directory(module, tokenizer, path),
        load=lambda path: load_directory(path).module,
        file_digest=lambda path: load_directory(path).file_digest,
        quality=of_language_model(sets["retain"], sets["forget"], encoder, spec.audit.batch_size, spec.audit.device),
        suffix="",
        notes=tuple(notes),
        fingerprint=Fingerprint(
            recipe=spec.recipe,
            retain=sets["retain"].digest,
            architecture=loaded.source_digest,
            base=loaded.digest if continued else None,
            encoding=encoder.digest,
            auditor_version=__version__,
        ),
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
