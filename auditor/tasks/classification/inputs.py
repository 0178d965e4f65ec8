"""From what was asked to example sets that can be trusted: restricted, checked for leaks, split."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from auditor.checks.sets import copy_of, drop_leaks, same_as, sources
from auditor.errors import DataError, SpecError
from auditor.loading.preprocessing import Preprocessing
from auditor.randomness import derive_seed
from auditor.records.plan import PlannedAssignment, PlannedData
from auditor.records.spec import AuditSpec
from auditor.sources import digest_of_file_behind
from auditor.tasks.classification import assignment
from auditor.tasks.classification.input_checks import check_examples
from auditor.tasks.classification.readers.files import examples_of_dataset, read_examples
from auditor.tasks.classification.request_kind import Request, request_for_images
from auditor.tasks.classification.sets import AuditData, Examples, split_in_halves

# Two in either half: of a single one no spread between examples can be measured.
_LEAST_FORGET = 4
_LAYOUT_EXAMPLES = 16
_TEXTS = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Example sets ready for an audit.

    Attributes:
        sets: forget, retain, and where given retain_test, holdout and control, after restriction and leak removal.
        planned: the same for the plan.
        request: what is to be forgotten, with nothing left open.
        notes: what was taken for granted or dropped, and why.
        assignment: where chance divided forget and holdout; None where the request does not say so.
    """

    sets: Mapping[str, Examples]
    planned: tuple[PlannedData, ...]
    request: Request
    notes: tuple[str, ...]
    assignment: PlannedAssignment | None


def read_sets(spec: AuditSpec, given: Mapping[str, object], base: Path, preprocessing: Preprocessing) -> Inputs | None:
    """Read every set; None where forget or retain is not given, so that only weights can be compared.

    Args:
        spec: the request.
        given: sets handed over in memory, by name; they come before the spec's paths.
        base: folder that paths are relative to.
        preprocessing: for sets read from files.

    Raises:
        DataError: a set is unreadable, empty, of another shape, or leaks into all of another.
        SpecError: the kind of request is not named, and the labels leave it open; or an assignment is stated that
            cannot be.
    """
    origins = sources(given, spec.data)
    if origins["forget"] is None or origins["retain"] is None:
        return None
    found = {
        name: _read(source, name, base, preprocessing, spec.data.class_names)
        for name, source in origins.items()
        if source is not None
    }
    request = request_for_images(spec.request, found["forget"].labels.tolist(), found["retain"].labels.tolist())
    # Of the sets as they were given: the record of an assignment is about these.
    divided = assignment.planned(spec, request.kind, found, base)
    # Before leaks are looked for: what a class request leaves out anyway is none.
    sets, notes = _restrict(found, request)
    notes += drop_leaks(sets, "examples")
    # After both, which may have emptied a set.
    _check_sizes(sets, found)
    notes += check_examples(sets)
    planned = tuple(
        PlannedData(
            name=name,
            source=source if isinstance(source := origins[name], str) else None,
            n_examples=len(examples),
            digest=examples.digest,
            file_digest=digest_of_file_behind(source, base),
        )
        for name, examples in sets.items()
    )
    return Inputs(sets=sets, planned=planned, request=request, notes=tuple(notes), assignment=divided)


def few(examples: Examples) -> Tensor:
    """Inputs enough to read a network's structure off them."""
    return examples.take(torch.arange(min(_LAYOUT_EXAMPLES, len(examples)))).inputs


def refuse_facts(spec: AuditSpec, original: str | None) -> None:
    """Say what is wrong where the sets are text and the models are files of weights.

    Raises:
        SpecError: naming the file, and what to give in its place.
    """
    texts = [s for s in (spec.data.forget, spec.data.retain) if s is not None and Path(s).suffix.lower() in _TEXTS]
    if original is None or not (texts or spec.request.kind == "facts"):
        return
    asked = f"{texts[0]} holds facts" if texts else 'request.kind is "facts"'
    raise SpecError(
        f"{asked}, which language models are asked about, but {original} is no language model's folder: give each "
        "model as its transformers folder, with config.json, model.safetensors and tokenizer.json"
    )


def check_labels(sets: Mapping[str, Examples], n_classes: int) -> None:
    """Refuse labels that no class of the models has, those of control aside.

    Raises:
        DataError: naming the set and the label.
    """
    for name, examples in sets.items():
        # Its labels name concepts, of which the models have no class.
        if name == "control":
            _check_concepts(examples)
        elif int(examples.labels.min()) < 0 or int(examples.labels.max()) >= n_classes:
            raise DataError(
                f"{name}: label {int(examples.labels.max())} is outside the model's {n_classes} classes "
                f"(0 to {n_classes - 1}); number the classes of data.{name} from 0, or check the architecture"
            )


def split(inputs: Inputs, n_classes: int, seed: int) -> AuditData:
    """The audit's sets with the forget set in halves.

    Raises:
        DataError: a label outside the classes.
    """
    check_labels(inputs.sets, n_classes)
    # Every random choice has a seed of its own, so that a further one changes none of the others.
    attack, evaluation = split_in_halves(inputs.sets["forget"], derive_seed(seed, "split"))
    if len(attack) == 0 or len(evaluation) == 0:
        raise DataError("forget: all examples are identical, so they cannot be split in halves; supply others")
    divided = inputs.assignment
    return AuditData(
        request=inputs.request.kind,
        classes=inputs.request.classes,
        n_classes=n_classes,
        forget_attack=attack,
        forget_eval=evaluation,
        retain=inputs.sets["retain"],
        retain_test=inputs.sets.get("retain_test"),
        holdout=inputs.sets.get("holdout"),
        control=inputs.sets.get("control"),
        assigned="no" if divided is None else "declared" if divided.commitment is None else "committed",
    )


def _check_concepts(control: Examples) -> None:
    """Labels of control examples name concepts, of which the models have no class: any that are not negative."""
    if int(control.labels.min()) < 0:
        raise DataError(
            f"control: label {int(control.labels.min())}; number the concepts from 0, any numbers not below it will do"
        )


def _read(
    source: object, name: str, base: Path, preprocessing: Preprocessing, class_names: tuple[str, ...]
) -> Examples:
    if isinstance(source, Examples):
        return source
    if isinstance(source, str | Path):
        return read_examples(str(source), base, preprocessing, class_names or None)
    if isinstance(source, tuple) and len(source) in (2, 3):
        raw, labels, *groups = (torch.as_tensor(part) for part in source)
        own = groups[0].long() if groups else None
        return Examples(raw=raw, labels=labels.long(), preprocessing=preprocessing, groups=own)
    return examples_of_dataset(source, name, preprocessing)


def _restrict(found: Mapping[str, Examples], request: Request) -> tuple[dict[str, Examples], list[str]]:
    """For a class request, forget and holdout hold the forgotten classes, retain and retain_test none of them."""
    sets = dict(found)
    notes = [request.note] if request.note else []
    if request.kind != "class":
        return sets, notes
    present = sorted({int(label) for label in sets["forget"].labels})
    absent = [c for c in request.classes if c not in present]
    if absent:
        raise DataError(
            f"request.classes names class {absent[0]}, of which forget holds no example (its labels: {present}); "
            "correct request.classes, or give data.forget examples of it"
        )
    wanted = torch.tensor(request.classes)
    # Not control: a concept may have the number of a forgotten class.
    for name, inside in (("forget", True), ("holdout", True), ("retain", False), ("retain_test", False)):
        if name in sets:
            keep = torch.isin(sets[name].labels, wanted) == inside
            notes += _restriction_note(name, keep, inside)
            sets[name] = sets[name].take(keep)
    return sets, notes


def _restriction_note(name: str, keep: Tensor, inside: bool) -> list[str]:
    dropped = int((~keep).sum())
    which = "of other classes" if inside else "of the forgotten classes"
    return [f"{name}: {dropped} examples {which} were left out"] if dropped else []


def _check_sizes(sets: Mapping[str, Examples], found: Mapping[str, Examples]) -> None:
    for name, examples in sets.items():
        if len(examples) == 0:
            twin = copy_of(name, found)
            if twin is not None:
                raise DataError(same_as(name, twin, "examples"))
            raise DataError(f"{name}: no example is left after restriction; check the classes and the file")
        # A resize makes one size of all.
        if examples.raw.shape[1:] != sets["forget"].raw.shape[1:] and examples.preprocessing.resize is None:
            raise DataError(
                f"{name}: images have shape {tuple(examples.raw.shape[1:])}, those of forget "
                f"{tuple(sets['forget'].raw.shape[1:])}; give data.resize or other files"
            )
    if len(sets["forget"]) < _LEAST_FORGET:
        raise DataError(f"forget: {len(sets['forget'])} examples; an audit needs at least {_LEAST_FORGET}")
