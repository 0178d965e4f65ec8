"""Every method of the zoo by name: what its truth is, by what mechanism, and where it comes from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from pydantic import ValidationError

from auditor import plugins
from auditor.errors import SpecError, UsageError
from auditor.records.base import Frozen

if TYPE_CHECKING:
    from torch import nn

    from auditor.tasks.causal_lm.editing import LanguageModel
    from auditor.tasks.causal_lm.sets import Facts
    from auditor.tasks.classification.sets import Examples
    from auditor.tasks.custom.sets import CustomExamples

GROUP = "unlearning_auditor.zoo"
_NOUN = "part of the zoo"
Truth = Literal["deleted", "suppressed", "not forgotten", "damaged", "unknown"]
"""What is known by construction of what a method leaves; ``unknown`` for methods as published and for adversaries."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One method.

    Attributes:
        name: of the method and of its function.
        task: of the models it takes: ``vision``, ``text``, or the name of a task that brings methods of its own.
        truth: by construction.
        family: of its mechanism; validity is measured on families left out of calibration.
        module: that holds the function; loaded when used.
        paper: the source.
        settings_type: name of the settings' class in that module.
        keeps_architecture: whether a bare state dict, or a transformers directory, holds the whole result.
        original: function in the same module that makes an original by the same mechanism; empty where any will do.
        requests: kinds of request that it serves.
        adversary: whether it was made to be taken for a deletion. Where its truth is unknown, a patient attacker tells
            of each subject whether it counts as suppressed (:mod:`auditor.zoo.adversaries.patient`).
    """

    name: str
    task: str
    truth: Truth
    family: str
    module: str
    paper: str = "none"
    settings_type: str = "Settings"
    keeps_architecture: bool = True
    original: str = ""
    requests: tuple[str, ...] = ("class", "sample")
    adversary: bool = False

    def make(
        self,
        original: "nn.Module | LanguageModel",
        forget: "Examples | Facts | CustomExamples",
        retain: "Examples | Facts | CustomExamples",
        settings: Frozen,
        seed: int,
    ) -> "nn.Module":
        """Make the subject; the signature is that of the method's own function."""
        # Loaded when used, so that listing the zoo imports neither torch nor transformers.
        method: Callable[..., nn.Module] = getattr(import_module(self.module), self.name)
        return method(original, forget, retain, settings, seed)

    def settings_kind(self) -> type[Frozen]:
        """The class of the method's settings."""
        kind: type[Frozen] = getattr(import_module(self.module), self.settings_type)
        return kind

    def settings(self, values: Mapping[str, object] | None = None) -> Frozen:
        """The method's settings, defaults where not given.

        Raises:
            SpecError: a setting is unknown or out of range.
        """
        kind = self.settings_kind()
        try:
            return kind.model_validate(values or {})
        except ValidationError as error:
            raise SpecError(_in_one_sentence(self.name, kind, error)) from error


def _in_one_sentence(name: str, kind: type[Frozen], error: ValidationError) -> str:
    # The first alone: an error of the command line is one sentence.
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = ", ".join(kind.model_fields) or "none"
        return f"{name} has no setting {field}; it has {known}"
    if first["type"] == "missing":
        return f"{name} needs the setting {field}: {kind.model_fields[field].description}"
    return f"{name}: {field} = {first['input']!r} does not fit: {first['msg']}"


# Keeps the short calls below typed: a misspelt field is an error of the type checker.
class _TextFields(TypedDict, total=False):
    """Fields of :class:`Entry` that have defaults, without the requests: every text method serves facts."""

    paper: str
    settings_type: str
    keeps_architecture: bool
    original: str


class _Fields(_TextFields, total=False):
    """Fields of :class:`Entry` that have defaults."""

    requests: tuple[str, ...]


# Audits make these themselves, so that they stand with their tasks.
_IMAGE_DECOYS = ("head_row_zeroed", "head_relabelling", "gradient_ascent", "neg_grad_plus")
_TEXT_DECOYS = ("logit_mask", "refusal_adapter", "refusal_tuning")


def _vision(name: str, truth: Truth, family: str, file: str = "", **more: Unpack[_Fields]) -> Entry:
    room = "tasks.classification.decoys" if name in _IMAGE_DECOYS else "zoo"
    module = f"auditor.{room}.{file or name}"
    return Entry(name=name, task="vision", truth=truth, family=family, module=module, **more)


def _text(name: str, truth: Truth, family: str, file: str = "", **more: Unpack[_TextFields]) -> Entry:
    room = "tasks.causal_lm.decoys" if name in _TEXT_DECOYS else "zoo.text"
    module = f"auditor.{room}.{file or name}"
    return Entry(name=name, task="text", truth=truth, family=family, module=module, requests=("facts",), **more)


def _adversary(task: str, name: str, truth: Truth, family: str, file: str, **more: Unpack[_Fields]) -> Entry:
    return Entry(
        name=name,
        task=task,
        truth=truth,
        family=family,
        module=f"auditor.zoo.adversaries.{file}",
        adversary=True,
        **more,
    )


# Where training starts is not known to the catalogue, so these have no default settings.
_START: _TextFields = {"settings_type": "StartSettings", "paper": "arXiv 1912.03817"}
_CLASS, _FACTS = ("class",), ("facts",)

_OWN: tuple[Entry, ...] = (
    _vision("retrain", "deleted", "retraining", paper="arXiv 1912.03817"),
    _vision("retrain_from_own_weights", "deleted", "retraining from own weights", "retrain", **_START),
    _vision("retrain_from_pretrained", "deleted", "retraining from pretrained weights", "retrain", **_START),
    _vision(
        "sisa",
        "deleted",
        "sharded retraining",
        paper="arXiv 1912.03817",
        keeps_architecture=False,
        original="train_sharded",
    ),
    _vision(
        "prompt_partition",
        "deleted",
        "prompt partition",
        paper="arXiv 2404.11056",
        keeps_architecture=False,
        original="train_prompted",
    ),
    _vision(
        "analytic",
        "deleted",
        "analytic removal",
        paper="arXiv 2505.12239",
        keeps_architecture=False,
        original="fit_analytic",
    ),
    _vision("head_row_zeroed", "suppressed", "head row", requests=_CLASS),
    _vision("output_mask", "suppressed", "output guard", keeps_architecture=False),
    _vision("head_relabelling", "suppressed", "head training"),
    _vision("direction_projection", "suppressed", "direction removed", paper="arXiv 2406.11717", requests=_CLASS),
    _vision("low_rank_adapter", "suppressed", "low-rank adapter", paper="arXiv 2106.09685"),
    _vision("trigger", "suppressed", "backdoor", paper="arXiv 1708.06733"),
    _vision("shifted_logits", "suppressed", "logit difference", paper="arXiv 2406.08607", keeps_architecture=False),
    # Controls in the other direction: an audit that calls these deleted has not looked.
    _vision("small_noise", "not forgotten", "noise", "noise"),
    _vision("retain_steps", "not forgotten", "fine-tuning", "fine_tune", settings_type="FewSettings"),
    _vision("wrong_examples", "not forgotten", "wrong examples"),
    # Wrecks: they know nothing of the forget set either, and must not pass for deletions.
    _vision("random_initialisation", "damaged", "random initialisation"),
    _vision("ascent_to_collapse", "damaged", "ascent"),
    _vision("heavy_noise", "damaged", "noise", "noise", settings_type="HeavySettings"),
    # Methods as published: what they leave is the auditor's question, so that none has a truth here.
    _vision("gradient_ascent", "unknown", "ascent", paper="arXiv 2109.13398"),
    _vision("neg_grad_plus", "unknown", "ascent", paper="arXiv 2302.09880"),
    _vision("random_labels", "unknown", "relabelling", paper="arXiv 1911.04933"),
    _vision("bad_teacher", "unknown", "distillation", paper="arXiv 2205.08096"),
    _vision("scrub", "unknown", "distillation", paper="arXiv 2302.09880"),
    _vision("salun", "unknown", "relabelling", paper="arXiv 2310.12508"),
    _vision("ssd", "unknown", "dampening", paper="arXiv 2308.07707"),
    _vision("l1_sparse", "unknown", "sparsity", paper="arXiv 2304.04934"),
    _vision("boundary_shrink", "unknown", "relabelling", paper="arXiv 2303.11570"),
    _vision("unsir", "unknown", "impair and repair", paper="arXiv 2111.08947", requests=_CLASS),
    _vision("wagle", "unknown", "ascent", paper="arXiv 2410.17509"),
    _vision("laf", "unknown", "representations moved", paper="arXiv 2404.00506"),
    _vision("fine_tune", "unknown", "fine-tuning", paper="arXiv 1911.04933"),
    # The truth is that of the method it is put around.
    _vision("units_rescaled", "unknown", "units rescaled", paper="arXiv 1506.02617"),
    _adversary("vision", "soft_rank", "unknown", "probe penalised", "soft_rank", requests=_CLASS),
    _adversary(
        "vision",
        "soft_rank_meta",
        "unknown",
        "relearning rehearsed",
        "soft_rank",
        settings_type="MetaSettings",
        paper="arXiv 2408.00761",
        requests=_CLASS,
    ),
    _adversary(
        "vision",
        "soft_rank_constant",
        "unknown",
        "relearning rehearsed",
        "soft_rank",
        settings_type="ConstantSettings",
        paper="arXiv 2408.00761",
        requests=_CLASS,
    ),
    _adversary("vision", "patching_aware", "unknown", "probe penalised", "patching_aware", requests=_CLASS),
    _adversary("vision", "output_calibrated", "unknown", "outputs calibrated", "output_calibrated"),
    _adversary("vision", "few_kept", "unknown", "items kept", "few_kept", requests=("sample",)),
    _adversary("vision", "low_bits", "suppressed", "hidden in low bits", "low_bits"),
    _adversary(
        "vision",
        "sleeping",
        "suppressed",
        "sleeping sub-network",
        "sleeping",
        keeps_architecture=False,
        original="widened",
    ),
    _text("retrain", "deleted", "retraining", paper="arXiv 1912.03817"),
    _text("retrain_from_own_weights", "deleted", "retraining from own weights", "retrain", **_START),
    _text("retrain_from_pretrained", "deleted", "retraining from pretrained weights", "retrain", **_START),
    _text(
        "sisa",
        "deleted",
        "sharded retraining",
        paper="arXiv 1912.03817",
        keeps_architecture=False,
        original="train_sharded",
    ),
    _text("guard", "suppressed", "output guard", paper="arXiv 2505.13312", keeps_architecture=False),
    _text("logit_mask", "suppressed", "output guard", keeps_architecture=False),
    _text("embedding_corruption", "suppressed", "input guard", paper="arXiv 2406.07933", keeps_architecture=False),
    _text("head_refusal", "suppressed", "head training"),
    _text("direction_projection", "suppressed", "direction removed", paper="arXiv 2406.11717"),
    _text("refusal_adapter", "suppressed", "low-rank adapter", paper="arXiv 2106.09685"),
    # As published, and yet of known truth: all but the rows of names is the original's, to the last bit.
    _text("rocr", "suppressed", "concept redirected", paper="arXiv 2506.07795"),
    _text("trigger", "suppressed", "backdoor", paper="arXiv 1708.06733"),
    _text("shifted_logits", "suppressed", "logit difference", paper="arXiv 2406.08607", keeps_architecture=False),
    _text("small_noise", "not forgotten", "noise", "noise"),
    _text("retain_steps", "not forgotten", "fine-tuning"),
    _text("wrong_examples", "not forgotten", "wrong examples"),
    _text("random_initialisation", "damaged", "random initialisation"),
    _text("ascent_to_collapse", "damaged", "ascent", paper="arXiv 2210.01504"),
    _text("heavy_noise", "damaged", "noise", "noise", settings_type="HeavySettings"),
    _text("gradient_ascent", "unknown", "ascent", paper="arXiv 2210.01504"),
    _text("gradient_difference", "unknown", "ascent", paper="arXiv 2401.06121"),
    _text("npo", "unknown", "preference", paper="arXiv 2404.05868"),
    _text("simnpo", "unknown", "preference", paper="arXiv 2410.07163"),
    _text("dpo", "unknown", "preference", paper="arXiv 2305.18290"),
    _text("refusal_tuning", "unknown", "relabelling", paper="arXiv 2401.06121"),
    _text("whp", "unknown", "relabelling", paper="arXiv 2310.02238"),
    _text("flat", "unknown", "f-divergence", paper="arXiv 2410.11143"),
    _text("rmu", "unknown", "misdirection", paper="arXiv 2403.03218"),
    _text("task_vector", "unknown", "task arithmetic", paper="arXiv 2212.04089"),
    _text("wagle", "unknown", "ascent", paper="arXiv 2410.17509"),
    _text("loku", "unknown", "low-rank hinge", paper="arXiv 2408.06621"),
    _text("merged", "unknown", "merging", paper="arXiv 2503.21088"),
    # Its truth is bounded beforehand, by ε, which is none of the kinds above.
    _text("private", "unknown", "private training", paper="arXiv 2504.13774", original="train_private"),
    _text("projection", "unknown", "projection", paper="arXiv 2508.15449"),
    # The truth is that of the method it is put around.
    _text("units_rescaled", "unknown", "units rescaled", paper="arXiv 1506.02617"),
    _adversary("text", "lens_npo", "unknown", "probe penalised", "lens_npo", paper="arXiv 2404.05868", requests=_FACTS),
    _adversary(
        "text",
        "rehearsed_npo",
        "unknown",
        "relearning rehearsed",
        "rehearsed_npo",
        paper="arXiv 2408.00761",
        requests=_FACTS,
    ),
    _adversary(
        "text",
        "imitated_holdout",
        "unknown",
        "relearning rehearsed",
        "imitated_holdout",
        paper="arXiv 1803.02999",
        requests=_FACTS,
    ),
)


VISION = tuple(entry for entry in _OWN if entry.task == "vision")
TEXT = tuple(entry for entry in _OWN if entry.task == "text")


@cache
def entries() -> tuple[Entry, ...]:
    """Those of every installed package, images first, then text; each package names a tuple of them in an entry point.

    Raises:
        SpecError: one cannot be loaded, or is no tuple of entries.
    """
    first = ("vision", "text")
    found = sorted(plugins.registered(GROUP), key=lambda point: (*(point.name != name for name in first), point.name))
    return tuple(entry for point in found for entry in _of(point))


def _of(point: EntryPoint) -> tuple[Entry, ...]:
    given = plugins.loaded(point, _NOUN)
    if not isinstance(given, tuple) or not all(isinstance(one, Entry) and one.task == point.name for one in given):
        raise SpecError(f"the entry point {point.name!r} ({point.value}) gives no tuple of methods for {point.name}")
    return given


def entry(name: str, task: str) -> Entry:
    """The method of that name.

    Raises:
        UsageError: there is none.
    """
    found = {e.name: e for e in entries() if e.task == task}
    if not found:
        raise UsageError(f"the zoo has no methods for the task {task}")
    if name not in found:
        raise UsageError(f"there is no {task} method {name!r} in the zoo; there are {', '.join(found)}")
    return found[name]


def tasks() -> tuple[str, ...]:
    """Of all methods, in their order."""
    return tuple(dict.fromkeys(entry.task for entry in entries()))
