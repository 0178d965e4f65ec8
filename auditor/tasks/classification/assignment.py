"""Chance divides a pool of images, subject by subject, and a request says so."""

from collections.abc import Mapping
from pathlib import Path

import torch

from auditor.checks.sets import overlap
from auditor.errors import SpecError
from auditor.records.assignment import AssignmentRecord
from auditor.records.plan import PlannedAssignment
from auditor.records.spec import AuditSpec
from auditor.tasks.classification.sets import Examples
from auditor.tasks.classification.sides import n_subjects, subjects_of
from auditor.tasks.drawing import LEAST, commitment_of, drawn

_ASKED = 'assignment.kind = "random"'


def draw(pool: Examples, share: float, seed: int, nonce: str) -> tuple[Examples, Examples, AssignmentRecord]:
    """Divide a pool: whole subjects, each as likely as any other to be held out.

    Args:
        pool: every example, labelled as it is to be trained on; one without a group is a subject by itself.
        share: of the subjects that are held out, in (0, 1).
        seed: of the draw.
        nonce: secret.

    Returns:
        (forget, holdout, record); both keep the pool's order.

    Raises:
        DataError: too few subjects for two on either side.
    """
    n = n_subjects(pool)
    held = drawn(n, share, seed)
    mask = torch.tensor([subject in held for subject in subjects_of(pool).tolist()])
    forget, holdout = pool.take(~mask), pool.take(mask)
    record = AssignmentRecord(
        seed=seed,
        nonce=nonce,
        pool=pool.stored_digest,
        forget=forget.stored_digest,
        holdout=holdout.stored_digest,
        n_forget=n - len(held),
        n_holdout=len(held),
    )
    return forget, holdout, record


def planned(spec: AuditSpec, request: str, sets: Mapping[str, Examples], base: Path) -> PlannedAssignment | None:
    """The assignment of a request; None where it states none.

    Args:
        spec: the request.
        request: kind of request.
        sets: by name, as they were given.
        base: folder that the record's path is relative to.

    Raises:
        SpecError: of another kind of request, a holdout is missing, or the sets were not divided so.
        DataError: the record cannot be read.
    """
    asked = spec.assignment
    if asked.kind is None:
        if asked.record is not None:
            raise SpecError('assignment.record is given without assignment.kind; add kind = "random"')
        return None
    if asked.kind != "random":
        raise SpecError(
            f'assignment.kind = "{asked.kind}" is for facts of language models; for images it is "random", of a pool '
            "that chance divided"
        )
    if request != "sample":
        raise SpecError(
            f"{_ASKED} is for listed samples that chance divided, and this request is about classes; set "
            'request.kind = "sample", or take [assignment] out of the request'
        )
    if "holdout" not in sets:
        raise SpecError(f"{_ASKED} needs the examples that chance held out: give data.holdout")
    _check(sets)
    digests = {name: sets[name].stored_digest for name in ("forget", "holdout")}
    return PlannedAssignment(
        kind=asked.kind,
        n_forget=n_subjects(sets["forget"]),
        n_holdout=n_subjects(sets["holdout"]),
        commitment=commitment_of(asked, digests, base),
        drawn=digests,
    )


def _check(sets: Mapping[str, Examples]) -> None:
    """Refuse sets that no draw of one pool can have left.

    Raises:
        SpecError: a side has one subject, only one is grouped, or something stands on both sides or in retain.
    """
    forget, holdout = sets["forget"], sets["holdout"]
    few = next((name for name in ("forget", "holdout") if n_subjects(sets[name]) < LEAST), None)
    if few is not None:
        raise SpecError(f"assignment: {few} is about one subject alone, and chance cannot have divided it; give more")
    if (forget.groups is None) != (holdout.groups is None):
        ungrouped = "forget" if forget.groups is None else "holdout"
        raise SpecError(f"assignment: {ungrouped} has no groups and the other side has; give both as they were drawn")
    if forget.groups is not None and holdout.groups is not None:
        shared = sorted(set(forget.groups.tolist()) & set(holdout.groups.tolist()))
        if shared:
            raise SpecError(f"assignment: group {shared[0]} stands in forget and in holdout; it was not assigned")
    # Left out of one side alone, as elsewhere, they would make the sides unlike.
    for first, second in (("forget", "holdout"), ("retain", "holdout"), ("forget", "retain")):
        leaked = overlap(sets[first], sets[second])
        if leaked:
            raise SpecError(
                f"assignment: {len(leaked)} examples of {second} also stand in {first} (the first is example "
                f"{leaked[0] + 1} of {second}), so that chance did not divide them; take what stands twice out of the "
                "pool and draw again"
            )
