"""What sets of images, and a classifier run on a few of them, say of an audit, for `audit init`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from auditor.checks.sets import SETS, evenly
from auditor.errors import ModelError, SpecError
from auditor.loading.image_processor import PREPROCESSOR, preprocessing_of
from auditor.loading.preprocessing import Preprocessing
from auditor.models.hooks import logits_of
from auditor.models.lineup import Lineup
from auditor.records.draft import Line
from auditor.records.spec import AuditSpec
from auditor.sources import split_source
from auditor.tasks.classification import inputs
from auditor.tasks.classification.readers.files import read_examples
from auditor.tasks.classification.readers.image_folders import SeveralSizes, class_folders
from auditor.tasks.classification.request_kind import request_for_images
from auditor.tasks.classification.sets import Examples
from auditor.tasks.classification.structure import layout_of

_EXAMPLES = {"forget": "what is to be forgotten", "retain": "what is to be kept"}
_SIZE = (32, 32)
_LOOKED_AT = 512
# An original that is right more often by this much was surely trained on images so normalised.
_BETTER = 0.02
# Published ones, for images of as many channels.
_USUAL: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10's": ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    "MNIST's": ((0.1307,), (0.3081,)),
    "a half each": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
_NAMED = 5
_OWN = "retain's own"


def look(spec: AuditSpec, lineup: Lineup, base: Path) -> Iterator[Line]:
    """See :meth:`auditor.tasks.task.Task.look`."""
    inputs.refuse_facts(spec, lineup.entries["original"].planned.source)
    given = {name: getattr(spec.data, name) for name in SETS if getattr(spec.data, name) is not None}
    for name, what in _EXAMPLES.items():
        if name not in given:
            why = f"{what}: .npz, folder or zip of images by class, or module.py:function"
            yield Line(field=f"data.{name}", value=f"{name}.npz", why=why, open=True, needed=True)
    shape, lines = _preparation(spec, lineup, base)
    yield from lines
    names, lines = _class_names(given, lineup, base)
    yield from lines
    sets, several = _read(given, base, shape, names)
    for name, examples in sets.items():
        yield Line(field=f"data.{name}", value=given[name], why=_described(examples))
    if several is not None:
        yield Line(field="data.resize", value=_SIZE, why=several, open=True, needed=True)
    if sets.keys() >= _EXAMPLES.keys():
        yield from _request(spec, sets)
        # Images of no settled size are shown to no network.
        if several is None:
            yield from _network(lineup, sets, shape)


def _read(
    given: Mapping[str, str], base: Path, shape: Preprocessing, names: tuple[str, ...]
) -> tuple[dict[str, Examples], str | None]:
    """The sets, and what is to be said where their images have several sizes."""
    try:
        return {name: read_examples(source, base, shape, names or None) for name, source in given.items()}, None
    except SeveralSizes as error:
        # Labels have no size: what they say is said without the right one.
        some = Preprocessing(resize=_SIZE)
        return {name: read_examples(source, base, some, names or None) for name, source in given.items()}, str(error)


def _preparation(spec: AuditSpec, lineup: Lineup, base: Path) -> tuple[Preprocessing, list[Line]]:
    """How images are prepared, as far as a file says it."""
    source = lineup.entries["original"].planned.source
    if source is None or not (base / source).is_dir():
        return Preprocessing(resize=spec.data.resize, mean=spec.data.mean, std=spec.data.std), []
    try:
        found = preprocessing_of(base / source)
    except ModelError as error:
        return Preprocessing(), [Line(field="data.mean", value=(0.5,), why=str(error), open=True, needed=True)]
    said = {"data.resize": found.resize, "data.mean": found.mean, "data.std": found.std}
    lines = [Line(field=f, value=v, why=f"from {PREPROCESSOR}") for f, v in said.items() if v is not None]
    return found, lines


def _class_names(given: Mapping[str, str], lineup: Lineup, base: Path) -> tuple[tuple[str, ...], list[Line]]:
    """The order of class folders: the model's own where it says one, else that of their names."""
    present = {name for key, source in given.items() if key != "control" for name in _folders(source, base)}
    # Concepts that are no classes of the model come behind its classes.
    concepts = tuple(name for name in _folders(given.get("control", ""), base) if name not in present)
    # Folders that are numbers say themselves which class they are.
    if not present or all(name.isdigit() for name in present):
        return (), []
    original = lineup.entries["original"]
    config = getattr(lineup.module("original"), "config", None) if original.task else None
    labels = getattr(config, "id2label", None) or {}
    own = tuple(str(labels[key]) for key in sorted(labels))
    if present <= set(own):
        names = (*own, *(name for name in concepts if name not in own))
        return names, [Line(field="data.class_names", value=names, why="from id2label in config.json")]
    names = (*sorted(present), *concepts)
    why = "the folders in order of name, as torchvision numbers them: is it the order of the model's classes?"
    return names, [Line(field="data.class_names", value=names, why=why)]


def _folders(source: str, base: Path) -> list[str]:
    if not source:
        return []
    location, part = split_source(source, base)
    path = base / location
    return class_folders(path, part) if path.is_dir() or (path.suffix == ".zip" and path.is_file()) else []


def _described(examples: Examples) -> str:
    size = "x".join(map(str, examples.raw.shape[1:]))
    return f"{len(examples)} images of {size}, values {_range(examples.raw)}, {_classes(examples.labels)}"


def _range(raw: Tensor) -> str:
    low, high = (float(value) for value in raw.aminmax())
    return f"{low:.3g} to {high:.3g}{' (normalised already?)' if low < 0 else ''}"


def _classes(labels: Tensor) -> str:
    """Labels in words.

    >>> _classes(torch.tensor([0, 1, 2, 4]))
    '4 classes: labels 0 to 4 without 3'
    """
    found = sorted({int(label) for label in labels})
    if len(found) == 1:
        return f"class {found[0]}"
    absent = sorted(set(range(found[0], found[-1])) - set(found))
    without = f" without {', '.join(map(str, absent))}" if absent else ""
    if len(absent) <= _NAMED:
        return f"{len(found)} classes: labels {found[0]} to {found[-1]}{without}"
    return f"{len(found)} classes: labels {', '.join(map(str, found[:_NAMED]))}, … up to {found[-1]}"


def _request(spec: AuditSpec, sets: Mapping[str, Examples]) -> Iterator[Line]:
    labels = [sets[name].labels.tolist() for name in ("forget", "retain")]
    try:
        found = request_for_images(spec.request, *labels)
    except SpecError as error:
        # Asked for what cannot be, or left open by the labels: only the second is left to be decided.
        if spec.request.kind is not None:
            raise
        yield Line(field="request.kind", value="class", why=str(error), open=True, needed=True)
        return
    yield Line(field="request.kind", value=found.kind, why=found.because or "as given")
    if found.kind == "sample" and "holdout" not in sets:
        why = "a request about samples needs examples of the same distribution that no model was trained on"
        yield Line(field="data.holdout", value="holdout.npz", why=why, open=True)


def _network(lineup: Lineup, sets: Mapping[str, Examples], shape: Preprocessing) -> Iterator[Line]:
    """What running the original on a few examples shows: how many classes it knows, and how it wants its images."""
    if lineup.entries["original"].build is None:
        yield from _unnormalised(sets["retain"], shape)
        return
    try:
        layout = layout_of(lineup.module("original"), inputs.few(sets["retain"]))
    except ModelError as error:
        yield Line(field="data.resize", value=_SIZE, why=str(error), open=True, needed=True)
        return
    inputs.check_labels(sets, layout.n_classes)
    if lineup.architecture is not None:
        size = "x".join(map(str, sets["retain"].inputs.shape[1:]))
        why = f"every model given fits it; takes {size} and knows {layout.n_classes} classes"
        yield Line(field="models.architecture", value=lineup.architecture.name, why=why)
    if _may_be_normalised(sets["retain"], shape):
        yield from _normalisation(lineup.module("original"), sets["retain"])


def _may_be_normalised(retain: Examples, shape: Preprocessing) -> bool:
    """Whether images are as a camera gives them, and nobody said how the model takes them."""
    # What is below 0 was normalised before it was stored.
    return shape.mean is None and retain.raw.ndim == 4 and float(retain.raw.min()) >= 0


def _unnormalised(retain: Examples, shape: Preprocessing) -> Iterator[Line]:
    """The question alone, where no network can be asked."""
    if not _may_be_normalised(retain, shape):
        return
    mean, std = _candidates(evenly(retain, _LOOKED_AT))[_OWN]
    why = (
        "the images are not normalised: if the original was trained on normalised ones, by what? Retain's own would be"
    )
    yield Line(field="data.mean", value=mean, why=why, open=True)
    yield Line(field="data.std", value=std, why="", open=True)


def _normalisation(original: nn.Module, retain: Examples) -> Iterator[Line]:
    """A line where the original does better on images that are normalised; it is left to a person to say so."""
    few = evenly(retain, _LOOKED_AT)
    as_stored = _right(original, few)
    tried = {
        name: _right(original, replace(few, preprocessing=_normalised(few, mean, std)))
        for name, (mean, std) in _candidates(few).items()
    }
    best = max(tried, key=lambda name: tried[name])
    if tried[best] < as_stored + _BETTER:
        return
    mean, std = _candidates(few)[best]
    why = (
        f"the original is right on {100 * tried[best]:.0f} % of retain when its images are normalised by these "
        f"({best}), on {100 * as_stored:.0f} % as they are: which was it trained with?"
    )
    yield Line(field="data.mean", value=mean, why=why, open=True)
    yield Line(field="data.std", value=std, why="", open=True)


def _candidates(few: Examples) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    pixels = Preprocessing(resize=few.preprocessing.resize)(few.raw)
    std, mean = torch.std_mean(pixels, dim=(0, 2, 3))
    own = tuple(tuple(round(float(v), 4) for v in values) for values in (mean, std.clamp_min(1e-4)))
    usual = {name: pair for name, pair in _USUAL.items() if len(pair[0]) == pixels.shape[1]}
    return {_OWN: (own[0], own[1]), **usual}


def _normalised(few: Examples, mean: tuple[float, ...], std: tuple[float, ...]) -> Preprocessing:
    return few.preprocessing.model_copy(update={"mean": mean, "std": std})


@torch.no_grad()
def _right(module: nn.Module, few: Examples) -> float:
    return float((logits_of(module(few.inputs)).argmax(1) == few.labels).double().mean())
