"""From what was asked to sets that can be trusted: of one shape, of one kind of request, free of leaks, split."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from auditor.checks.sets import copy_of, drop_leaks, same_as, sources
from auditor.errors import DataError, SpecError
from auditor.randomness import derive_seed
from auditor.records.plan import PlannedData
from auditor.records.spec import AuditSpec, RequestSpec
from auditor.sources import digest_of_file_behind
from auditor.tasks.classification.request_kind import Request, request_for_images
from auditor.tasks.classification.sets import attack_half
from auditor.tasks.custom.readers import read_custom
from auditor.tasks.custom.sets import CustomExamples, CustomSets
from auditor.tasks.custom.user_code import UserTask

# Two in either half: of a single one no spread between examples can be measured.
_LEAST_FORGET = 4
_KINDS = (
    'set request.kind = "class" if everything of what forget holds examples of is to be forgotten (a class, a person, '
    'a machine), and retain holds none of it; "sample" if the examples listed in forget are'
)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Example sets ready for an audit.

    Attributes:
        sets: forget, retain, and where given retain_test and holdout, restricted and free of leaks.
        planned: the same for the plan.
        request: what is to be forgotten, with nothing left open.
        notes: what was taken for granted or left out, and why.
    """

    sets: Mapping[str, CustomExamples]
    planned: tuple[PlannedData, ...]
    request: Request
    notes: tuple[str, ...]


def read_sets(spec: AuditSpec, given: Mapping[str, object], base: Path, code: UserTask) -> Inputs | None:
    """Read every set; None where forget or retain is not given, so that only weights can be compared.

    Raises:
        DataError: a set is unreadable, too small, of another shape, or leaks into all of another.
        SpecError: something is asked for that these audits cannot do, or the kind of request is left open.
    """
    origins = sources(given, spec.data)
    _refuse_what_is_not_used(spec, origins)
    if origins["forget"] is None or origins["retain"] is None:
        return None
    found = {name: read_custom(source, name, base, code) for name, source in origins.items() if source is not None}
    _check_shapes(found)
    request = _request(spec.request, found)
    sets, notes = _restricted(found, request)
    notes += drop_leaks(sets, "examples")
    _check_sizes(sets, found)
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
    return Inputs(sets=sets, planned=planned, request=request, notes=tuple(notes))


def split(inputs: Inputs, seed: int, code: UserTask) -> CustomSets:
    """The audit's sets with the forget set in halves, class by class where targets are classes.

    Raises:
        DataError: all forget examples are identical.
    """
    forget = inputs.sets["forget"]
    mask = attack_half(forget, derive_seed(seed, "split"))
    if bool(mask.all()) or not bool(mask.any()):
        raise DataError("forget: all examples are identical, so they cannot be split in halves; supply others")
    return CustomSets(
        request=inputs.request.kind,
        classes=inputs.request.classes,
        # Of how many a guess would be right says nothing here: retain accuracy is held against the original's scores.
        n_classes=0,
        forget_attack=forget.take(mask),
        forget_eval=forget.take(~mask),
        retain=inputs.sets["retain"],
        retain_test=inputs.sets.get("retain_test"),
        holdout=inputs.sets.get("holdout"),
        code=code.source_digest,
    )


def _refuse_what_is_not_used(spec: AuditSpec, origins: Mapping[str, object]) -> None:
    """Left unsaid, an audit would seem to rest on something that it never looked at."""
    unused = {
        "data.control": origins["control"],
        "models.guard": spec.models.guard,
        "models.neither": spec.models.neither or None,
        "assignment.kind": spec.assignment.kind,
        "data.resize": spec.data.resize,
        "data.mean": spec.data.mean,
        "data.std": spec.data.std,
        "audit.gradient_checkpointing": spec.audit.gradient_checkpointing or None,
    }
    named = [name for name, value in unused.items() if value is not None]
    if named:
        raise SpecError(f"audits with models.task have no use for {', '.join(named)}; leave it out (docs/custom.md)")
    if spec.request.goal != "data":
        raise SpecError('request.goal = "concept" is not decided with models.task, which has no control concepts')


def _request(asked: RequestSpec, found: Mapping[str, CustomExamples]) -> Request:
    forget, retain = found["forget"], found["retain"]
    if asked.kind == "facts":
        raise SpecError(f'request.kind = "facts" is for language models; {_KINDS}')
    if forget.labelled and retain.labelled and (asked.kind is None or asked.kind == "class"):
        return request_for_images(asked, forget.labels.tolist(), retain.labels.tolist())
    if asked.classes:
        raise SpecError(
            "request.classes names classes, and the targets are no whole numbers that name any; leave it out"
        )
    if asked.kind is None:
        raise SpecError(f"request.kind is not set, and the targets are no classes to read it off: {_KINDS}")
    return Request(kind=asked.kind, classes=())


def _restricted(found: Mapping[str, CustomExamples], request: Request) -> tuple[dict[str, CustomExamples], list[str]]:
    """Where classes are to be forgotten, forget and holdout hold these alone, retain and retain_test none of them."""
    sets, notes = dict(found), [request.note] if request.note else []
    wanted = torch.tensor(request.classes, dtype=torch.int64)
    sides = (("forget", True), ("holdout", True), ("retain", False), ("retain_test", False))
    for name, inside in sides if request.classes else ():
        if name in sets:
            keep = torch.isin(sets[name].labels, wanted) == inside
            which = "of other classes" if inside else "of the forgotten classes"
            notes += [f"{name}: {int((~keep).sum())} examples {which} were left out"] if not bool(keep.all()) else []
            sets[name] = sets[name].take(keep)
    return sets, notes


def _check_shapes(sets: Mapping[str, CustomExamples]) -> None:
    first = sets["forget"]
    for name, examples in sets.items():
        for part in ("inputs", "targets"):
            own, theirs = getattr(examples, part), getattr(first, part)
            if own.shape[1:] != theirs.shape[1:] or own.dtype != theirs.dtype:
                raise DataError(
                    f"{name}: {part} are {_kind(own)}, those of forget {_kind(theirs)}; give all one shape and type"
                )


def _kind(part: torch.Tensor) -> str:
    return f"{str(part.dtype).removeprefix('torch.')} of shape {list(part.shape[1:])}"


def _check_sizes(sets: Mapping[str, CustomExamples], found: Mapping[str, CustomExamples]) -> None:
    for name, examples in sets.items():
        if len(examples) == 0:
            twin = copy_of(name, found)
            words = "no example is left after restriction; check request.classes and the file"
            raise DataError(same_as(name, twin, "examples") if twin is not None else f"{name}: {words}")
    if len(sets["forget"]) < _LEAST_FORGET:
        raise DataError(f"forget: {len(sets['forget'])} examples; an audit needs at least {_LEAST_FORGET}")
