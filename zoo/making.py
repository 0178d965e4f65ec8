"""Makes a subject out of files: what `audit zoo make` does."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from auditor.checks.sets import drop_leaks
from auditor.errors import SpecError, UsageError
from auditor.loading.architecture import load_architecture
from auditor.loading.checkpoints import build_module, load_weights
from auditor.loading.preprocessing import Preprocessing
from auditor.loading.tokenizers import load_tokenizer
from auditor.loading.transformers_directory import load_directory, task_of
from auditor.models.lineup import load_original
from auditor.models.references import save, save_directory
from auditor.randomness import derive_seed
from auditor.records.spec import AuditSpec, RecipeSpec
from auditor.tasks import registry
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.readers import read_facts
from auditor.tasks.causal_lm.sets import Facts
from auditor.tasks.classification import inputs
from auditor.tasks.classification.sets import Examples
from auditor.tasks.custom.inputs import read_sets
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.task import Custom
from auditor.zoo import catalogue
from auditor.zoo.catalogue import Entry, entry


@dataclass(frozen=True, kw_only=True)
class Ingredients:
    """What subjects of one task are made from and how they are kept.

    Attributes:
        task: of the models.
        original: as the methods of the task take it.
        module: the original's network.
        forget: examples or facts to be forgotten.
        retain: examples or facts to be kept.
        recipe: the original's, for methods that train by one.
        keep: writes a subject to a path.
        notes: findings about the input.
    """

    task: str
    original: nn.Module | LanguageModel
    module: nn.Module
    forget: Examples | Facts | CustomExamples
    retain: Examples | Facts | CustomExamples
    recipe: RecipeSpec
    keep: Callable[[nn.Module, Path], None]
    notes: tuple[str, ...]


def ingredients(spec: AuditSpec, base: Path) -> Ingredients:
    """Read original, forget and retain: a language model where the original is a transformers directory of one.

    Raises:
        SpecError: a field that is needed is not given.
    """
    declared = spec.declared_task
    if declared is not None and declared not in catalogue.tasks():
        raise SpecError(f"the zoo has no methods for the task {declared}; take models.task out of the request")
    source = spec.models.original
    if source is None or spec.data.forget is None or spec.data.retain is None:
        raise SpecError("audit zoo make needs an original, data.forget and data.retain; set them in audit.toml")
    if declared is not None:
        return _of_a_kind(spec, base)
    if (base / source).is_dir() and task_of(base / source) == "causal-lm":
        return _texts(spec, base, source, spec.data.forget, spec.data.retain)
    return _images(spec, base, source)


def make(method: str, found: Ingredients, values: Mapping[str, object], seed: int) -> nn.Module:
    """Make a subject that a checkpoint can hold.

    Args:
        method: its name in the catalogue.
        found: what it is made from.
        values: of its settings, by name.
        seed: of the plan.

    Raises:
        UsageError: there is no such method, or its result is more than weights of the original's architecture.
        SpecError: a setting is unknown or out of range.
    """
    chosen = entry(method, found.task)
    # The recipe of audit.toml first, and what was asked for on the command line over it.
    recipe = found.recipe.model_dump() if issubclass(chosen.settings_kind(), RecipeSpec) else {}
    settings = chosen.settings({**recipe, **values})
    # Refused before anything is trained.
    if chosen.original or not chosen.keeps_architecture:
        raise UsageError(python_only(chosen))
    module = chosen.make(found.original, found.forget, found.retain, settings, derive_seed(seed, "zoo", method))
    # Also afterwards: units_rescaled puts itself around any method, a wrapper among them.
    if module.state_dict().keys() != found.module.state_dict().keys():
        raise UsageError(f"{method} with these settings {_WRAPS}")
    return module


_WRAPS = "puts something around the network that a checkpoint cannot hold; use it from Python, see docs/zoo.md"


def python_only(chosen: Entry) -> str:
    """Why a method cannot be carried out on a checkpoint, in one sentence."""
    if chosen.original:
        function = f"{chosen.module}.{chosen.original}"
        return f"{chosen.name} needs an original made by {function}; use both from Python, see docs/zoo.md"
    return f"{chosen.name} {_WRAPS}"


def _of_a_kind(spec: AuditSpec, base: Path) -> Ingredients:
    """For a task that brings a class in place of the user's."""
    assert spec.declared_task is not None
    task = registry.load(spec.declared_task)
    assert isinstance(task, Custom), "methods of other kinds of tasks are found by their models"
    with tempfile.TemporaryDirectory() as cache:
        build = load_original(spec, base, Path(cache)).build
        if build is None:
            raise SpecError("audit zoo make needs models.architecture, or an original in a transformers directory")
        module = build().eval()
    found = read_sets(spec, {}, base, task.code(spec, base))
    assert found is not None, "forget and retain are given"
    return Ingredients(
        task=task.name,
        original=module,
        module=module,
        forget=found.sets["forget"],
        retain=found.sets["retain"],
        recipe=spec.recipe,
        keep=task.workshop(spec, base).keep,
        notes=found.notes,
    )


def _images(spec: AuditSpec, base: Path, source: str) -> Ingredients:
    if spec.models.architecture is None:
        raise SpecError("audit zoo make needs models.architecture and a checkpoint file, or a directory of a causal-lm")
    architecture = load_architecture(spec.models.architecture, base, spec.models.arguments)
    with tempfile.TemporaryDirectory() as cache:
        weights = load_weights(base / source, Path(cache))
    module = build_module(architecture.function, weights, source)
    shape = Preprocessing(resize=spec.data.resize, mean=spec.data.mean, std=spec.data.std)
    found = inputs.read_sets(spec, {}, base, shape)
    assert found is not None, "forget and retain are given"
    return Ingredients(
        task="vision",
        original=module,
        module=module,
        forget=found.sets["forget"],
        retain=found.sets["retain"],
        recipe=spec.recipe,
        keep=save,
        notes=found.notes,
    )


def _texts(spec: AuditSpec, base: Path, source: str, forget: str, retain: str) -> Ingredients:
    sets = {"forget": read_facts(forget, base), "retain": read_facts(retain, base)}
    # As an audit does: a fact in both sets cannot be forgotten and kept.
    notes = drop_leaks(sets, "facts")
    module = load_directory(base / source).module
    tokenizer = load_tokenizer(base / (spec.models.tokenizer or source))
    return Ingredients(
        task="text",
        original=LanguageModel(module, Encoder(tokenizer, spec.data.template, spec.data.chat_template)),
        module=module,
        forget=sets["forget"],
        retain=sets["retain"],
        recipe=spec.recipe,
        keep=lambda subject, path: save_directory(subject, tokenizer, path),
        notes=tuple(notes),
    )
