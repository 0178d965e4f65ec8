"""AuditSpec: what was asked, from audit.toml and the command line, validated and frozen."""

import datetime
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue, ValidationError

from auditor.errors import SpecError, near_paths
from auditor.records.access import Access
from auditor.records.base import Frozen

FILE_NAME = "audit.toml"
CUSTOM = "custom"
"""Name of the task whose models a class of the user's own runs."""
Overrides = Mapping[str, Mapping[str, object]]
"""Options given beside the file, by section and field."""


class ModelsSpec(Frozen):
    """Which models."""

    original: str | None = Field(default=None, description="checkpoint trained on everything", examples=["original.pt"])
    unlearned: str | None = Field(
        default=None, description="checkpoint said to have forgotten", examples=["unlearned.pt"]
    )
    # Wrong preprocessing or class order lowers every model alike; only who trained the original can tell.
    original_accuracy: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="accuracy of the original as you know it, on retain_test if that is given, else on retain; the "
        "audit stops where it finds another",
        examples=[0.92],
    )
    references: tuple[str, ...] = Field(
        default=(),
        description="checkpoints trained without the forget set by the original's recipe; globs allowed",
        examples=[["references/reference-*.pt"]],
    )
    perturbed: tuple[str, ...] = Field(
        default=(),
        description="references trained by a perturbed recipe; they widen the interval",
        examples=[["references/perturbed-*.pt"]],
    )
    neither: tuple[str, ...] = Field(
        default=(),
        description="language models, with [assignment]: models of any recipe that saw neither forget nor holdout, "
        "such as the base; they say how hard each subject is, and never count as references; globs allowed",
        examples=[["base"]],
    )
    architecture: str | None = Field(
        default=None,
        description="your code that makes the untrained network, as module.py:function; it is run. Or a network that "
        "timm or torchvision knows by name, such as timm:resnet18?num_classes=10",
        examples=["network.py:build"],
    )
    arguments: dict[str, JsonValue] = Field(
        default={},
        description="what the architecture is called with, by name",
        examples=[{"num_classes": 10}],
    )
    task: str | None = Field(
        default=None,
        description="models of any other kind: your class that says how they are scored, as module.py:Class; it is run",
        examples=["task.py:MyTask"],
    )
    base: str | None = Field(
        default=None,
        description="language models: transformers directory that adapters are put on; default the original",
        examples=["base"],
    )
    tokenizer: str | None = Field(
        default=None,
        description="language models: folder of tokenizer.json; default the original's",
        examples=["original"],
    )
    guard: str | None = Field(
        default=None,
        description="your code that puts a filter or mask around the unlearned language model, as "
        "module.py:function(model, tokenizer); it is run",
        examples=["guard.py:filtered"],
    )
    autoencoder: str | None = Field(
        default=None,
        description="language models: folder of a TopK autoencoder of the original that sae-lens saved; "
        "sae_restoration then trains none",
        examples=["sae"],
    )
    autoencoder_block: str | None = Field(
        default=None, description="the block whose output it reads", examples=["model.layers.2"]
    )


class DataSpec(Frozen):
    """Which examples, and what is done to them before the model sees them."""

    forget: str | None = Field(
        default=None,
        description="examples to be forgotten: .npz, .csv, .parquet, image folder, zip, or module.py:function; for "
        "language models JSON lines, .csv or .parquet of prompt and answer",
        examples=["forget.npz"],
    )
    retain: str | None = Field(default=None, description="examples to be kept", examples=["retain.npz"])
    retain_test: str | None = Field(
        default=None,
        description="distributed like retain, never trained on (language models: retain facts in a wording never "
        "trained on); retain accuracy is measured here",
        examples=["retain_test.npz"],
    )
    holdout: str | None = Field(
        default=None, description="distributed like forget, never trained on", examples=["holdout.npz"]
    )
    control: str | None = Field(default=None, description="concepts no model was trained on", examples=["control.npz"])
    resize: tuple[int, int] | None = Field(default=None, description="height and width in pixels", examples=[[32, 32]])
    mean: tuple[float, ...] | None = Field(
        default=None, description="per channel, after scaling to [0, 1]", examples=[[0.485, 0.456, 0.406]]
    )
    std: tuple[float, ...] | None = Field(default=None, description="per channel", examples=[[0.229, 0.224, 0.225]])
    template: str = Field(
        default="{prompt} {answer}", description="language models: how prompt and answer are joined, the answer last"
    )
    chat_template: bool = Field(default=False, description="language models: use the tokenizer's chat template instead")
    class_names: tuple[str, ...] = Field(
        default=(),
        description="in the order of the model's classes: for the report, and to number class folders",
        examples=[["cat", "dog"]],
    )


class AssignmentSpec(Frozen):
    """How it was decided what was trained on and what was held out."""

    # Never guessed: a holdout drawn from the same source is not one that chance left out.
    kind: Literal["random", "declared-exchangeable"] | None = Field(
        default=None,
        description="random: chance decided, subject by subject, which stand in forget and which in holdout, before "
        "the original was trained; holdout then takes the place of references (facts, and listed samples of images). "
        "declared-exchangeable: nobody drew, and someone declares that they are alike; needs a reference of the "
        "original's recipe to clear",
        examples=["random"],
    )
    declared_by: str | None = Field(
        default=None,
        min_length=1,
        description="declared-exchangeable: who declares it; printed in the report",
        examples=["A. Auditor"],
    )
    record: str | None = Field(
        default=None,
        description="the assignment.json that `audit assign` wrote with the two sets",
        examples=["assignment.json"],
    )


class RequestSpec(Frozen):
    """What kind of thing is to be forgotten."""

    # Never guessed where the labels leave two readings: the kind decides which checks have to clear.
    kind: Literal["class", "sample", "facts"] | None = Field(
        default=None,
        description="a whole class, listed samples, or facts in text; absent: facts for text, for images what the "
        "labels of forget and retain leave no doubt of",
        examples=["class"],
    )
    goal: Literal["data", "concept"] = Field(
        default="data", description="remove the influence of these examples, or the capability itself"
    )
    classes: tuple[int, ...] = Field(
        default=(),
        description="forgotten classes of a class request; empty: every class that occurs in forget",
        examples=[[3]],
    )


class RunSpec(Frozen):
    """How the audit runs."""

    checks: tuple[str, ...] | None = Field(
        default=None,
        description="checks by name, as `audit list` shows them; absent: all that the data allow",
        examples=[["few_shot", "relearning", "slow_relearning"]],
    )
    access: Access = Field(
        default="training",
        description="what of the unlearned model may be used: samples (what it says), logits (how probable it finds "
        "answers, too), weights (read and changed, too) or training (all); checks that need more are left out",
    )
    policy: str = Field(default="default", description="a shipped policy or a .toml file")
    # Declared and never inferred: size and task say nothing of the data.
    domain: str | None = Field(
        default=None,
        description="the policy's domain that your data belong to; error rates are quoted for a declared domain alone",
        examples=["handwritten-digits"],
    )
    # Whoever reviews a model chooses it after receiving the model: a seed known beforehand draws attacks that an
    # unlearner can rehearse (docs/checks.md, relearning).
    seed: int = Field(default=0, ge=0, description="every random choice derives from it")
    device: str = Field(default="cpu", pattern=r"^(cpu|mps|cuda(:\d+)?)$", description="cpu, cuda or mps")
    dtype: Literal["float32", "bfloat16"] = Field(default="float32", description="of the weights")
    gradient_checkpointing: bool = Field(
        default=False,
        description="language models: attacks and decoys that train keep less for their gradients, and compute "
        "each block twice; part of the plan",
    )
    # One by default: sums change in their last bits with the number of threads.
    threads: int = Field(default=1, ge=1, le=256, description="of torch; part of the plan")
    batch_size: int = Field(default=256, ge=1, description="examples per forward pass; part of the plan")
    time_limit: int = Field(
        default=7200,
        ge=1,
        le=10**6,
        description="seconds that one check may take on one model before it is given up; no score depends on it",
    )
    expect: Literal["deleted", "suppressed", "not-deleted", "not-forgotten", "inconclusive"] = Field(
        default="deleted", description="the outcome that exits with 0"
    )
    # No Literal: packages register executors of their own.
    executor: str = Field(
        default="in-process",
        description="what computes the scores, by the name a package registers it under; no score depends on it",
    )
    out: str = Field(default="audit-out", description="folder for results.json and report.html")
    store: str = Field(default=".audit", description="folder of finished scores, shared between audits")
    write_canonical: bool = Field(
        default=False,
        description="write the canonical form of the unlearned model, which the verdict is about, into the folder out",
    )
    # Off: results are passed on, and what was to be forgotten must not travel with them unasked.
    show_text: bool = Field(
        default=False, description="language models: let prompts, answers and generations stand in the results"
    )


class RecipeSpec(Frozen):
    """How `audit reference` trains a reference: the original's recipe, stated."""

    epochs: int = Field(default=20, ge=1, description="passes over the retain set")
    batch_size: int = Field(default=64, ge=1, description="examples per step")
    optimizer: Literal["adam", "adamw", "sgd"] = Field(default="adamw", description="of torch.optim")
    learning_rate: float = Field(default=0.003, gt=0, description="its peak")
    weight_decay: float = Field(default=0.1, ge=0, description="as the optimizer defines it")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="sgd only")
    schedule: Literal["constant", "cosine", "one-cycle"] = Field(
        default="one-cycle", description="of the learning rate, over all steps"
    )


class ResponsibleSpec(Frozen):
    """Who answers for the audit; printed in the report as given."""

    person: str | None = Field(default=None, description="name of who answers for it", examples=["A. Auditor"])
    organisation: str | None = Field(default=None, description="on whose behalf", examples=["Audit House"])
    # Given and never read from a clock: the same audit has the same bytes on any day.
    date: datetime.date | None = Field(
        default=None, description="of the audit, as you give it", examples=[datetime.date(2026, 1, 31)]
    )
    access: str | None = Field(
        default=None,
        description="how models and data came into your hands",
        examples=["files sent by the vendor"],
    )


class AuditSpec(Frozen):
    """The whole of audit.toml."""

    models: ModelsSpec = Field(default_factory=ModelsSpec)
    data: DataSpec = Field(default_factory=DataSpec)
    request: RequestSpec = Field(default_factory=RequestSpec)
    assignment: AssignmentSpec = Field(default_factory=AssignmentSpec)
    audit: RunSpec = Field(default_factory=RunSpec)
    recipe: RecipeSpec = Field(default_factory=RecipeSpec)
    responsible: ResponsibleSpec = Field(default_factory=ResponsibleSpec)

    @property
    def declared_task(self) -> str | None:
        """The task that the request names; None where the models say it themselves."""
        named = self.models.task
        # What could be a file is one: a task's name has neither a colon nor a suffix.
        return CUSTOM if named is not None and (":" in named or named.endswith(".py")) else named

    def without_folders(self) -> "AuditSpec":
        """The request as a plan records it: where results are computed and kept, and what beside, changes none."""
        # None of these changes a score, so that requests which differ in them alone have one plan and one digest.
        names = ("executor", "out", "store", "write_canonical")
        places = {name: RunSpec.model_fields[name].get_default() for name in names}
        return self.model_copy(update={"audit": self.audit.model_copy(update=places)})


def read_spec(path: Path) -> dict[str, object]:
    """The raw tables of an audit.toml.

    Raises:
        SpecError: missing or not TOML.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError as error:
        raise SpecError(f"{path} does not exist{near_paths(path, Path(), '`audit init` writes one')}") from error
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}; --config takes a TOML file") from error
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: tomllib lets numbers without end and tables without bottom through to Python.
        raise SpecError(f"{path} is not valid TOML: {error}; correct that place") from error


def make_spec(tables: Mapping[str, object], overrides: Overrides, source: str = FILE_NAME) -> AuditSpec:
    """Lay the command line over the file and validate.

    Args:
        tables: of the file.
        overrides: options given, by section and field; None values are not given.
        source: named in messages.

    Raises:
        SpecError: naming the field, its value and what was expected.
    """
    # Copies: the caller's tables stay as the file has them.
    merged = {name: dict(table) if isinstance(table, dict) else table for name, table in tables.items()}
    for section, fields in overrides.items():
        # An option that may be repeated comes as () where it was not given; 0 and False were given.
        given = {name: value for name, value in fields.items() if value is not None and value != ()}
        if given:
            table = merged.setdefault(section, {})
            if not isinstance(table, dict):
                raise SpecError(f"{source}: {section} must be a table, written [{section}]")
            table.update(given)
    try:
        return AuditSpec.model_validate(merged)
    except ValidationError as error:
        raise SpecError(_in_one_sentence(error, source, overrides)) from error


def _in_one_sentence(error: ValidationError, source: str, overrides: Overrides) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    # A wrong option must not send its author to the file.
    if _overridden(first["loc"], overrides):
        source = "options"
    if first["type"] == "model_type":
        return f"{source}: {field} must be a table, written [{field}]"
    if first["type"] == "extra_forbidden":
        known = _fields_beside(first["loc"])
        return f"{source}: there is no field {field}; known here: {', '.join(known)}"
    return f"{source}: {field} = {first['input']!r} does not fit: {first['msg']}"


def _overridden(location: tuple[int | str, ...], overrides: Overrides) -> bool:
    """Whether the value at fault was given beside the file."""
    return len(location) > 1 and overrides.get(str(location[0]), {}).get(str(location[1])) not in (None, ())


def _fields_beside(location: tuple[int | str, ...]) -> list[str]:
    model: type[Frozen] = AuditSpec
    for part in location[:-1]:
        annotation = model.model_fields[str(part)].annotation
        # Only a table has fields to name; a list or an optional value has none.
        if isinstance(annotation, type) and issubclass(annotation, Frozen):
            model = annotation
    return sorted(model.model_fields)
