"""Chance divides a pool of facts, subject by subject, and a request says so."""

from collections.abc import Mapping
from pathlib import Path

from auditor.checks.sets import overlap
from auditor.errors import SpecError
from auditor.records.assignment import AssignmentRecord
from auditor.records.plan import PlannedAssignment
from auditor.records.spec import AssignmentSpec, AuditSpec
from auditor.tasks.causal_lm.sets import Facts
from auditor.tasks.causal_lm.sides import n_subjects, subjects_of
from auditor.tasks.drawing import LEAST, commitment_of, drawn


def draw(pool: Facts, share: float, seed: int, nonce: str) -> tuple[Facts, Facts, AssignmentRecord]:
    """Divide a pool: whole subjects, each as likely as any other to be held out.

    Args:
        pool: every fact; a fact without a subject is one by itself.
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
    sides: dict[bool, list[int]] = {False: [], True: []}
    for i, subject in enumerate(subjects_of(pool).tolist()):
        sides[subject in held].append(i)
    forget, holdout = pool.take(sides[False]), pool.take(sides[True])
    record = AssignmentRecord(
        seed=seed,
        nonce=nonce,
        pool=pool.digest,
        forget=forget.digest,
        holdout=holdout.digest,
        n_forget=n - len(held),
        n_holdout=len(held),
    )
    return forget, holdout, record


def planned(spec: AuditSpec, sets: Mapping[str, Facts], base: Path) -> PlannedAssignment | None:
    """The assignment of a request; None where it states none.

    Raises:
        SpecError: a holdout is missing, or the record is of other sets.
    """
    asked = spec.assignment
    if asked.kind is None:
        if asked.record is not None:
            raise SpecError('assignment.record is given without assignment.kind; add kind = "random"')
        return None
    _check_declaration(asked)
    if "holdout" not in sets:
        raise SpecError(f'assignment.kind = "{asked.kind}" needs the subjects that were held out: give data.holdout')
    sizes = {name: n_subjects(sets[name]) for name in ("forget", "holdout")}
    few = next((name for name, n in sizes.items() if n < LEAST), None)
    if few is not None:
        raise SpecError(f"assignment: {few} is about one subject alone, and chance cannot have divided it; give more")
    shared = sorted({f.subject for f in sets["forget"].items} & {f.subject for f in sets["holdout"].items} - {""})
    if shared:
        raise SpecError(f"assignment: the subject {shared[0]!r} stands in forget and in holdout; it was not assigned")
    for name in ("forget", "retain"):
        leaked = overlap(sets[name], sets["holdout"])
        # Left out of one side alone, as elsewhere, they would make the sides unlike.
        if leaked:
            raise SpecError(
                f"assignment: {len(leaked)} facts of holdout also stand in {name} (the first is fact {leaked[0] + 1} "
                "of holdout), so that they were not held out; take what stands twice out of the pool and draw again"
            )
    return PlannedAssignment(
        kind=asked.kind,
        declared_by=asked.declared_by,
        n_forget=sizes["forget"],
        n_holdout=sizes["holdout"],
        commitment=commitment_of(asked, {name: sets[name].digest for name in sizes}, base),
    )


def _check_declaration(asked: AssignmentSpec) -> None:
    """Refuse a declaration that nobody makes, and a draw that somebody declares."""
    if asked.kind == "random":
        if asked.declared_by is not None:
            raise SpecError('assignment.declared_by goes with kind = "declared-exchangeable"; a draw needs nobody')
        return
    if asked.declared_by is None:
        raise SpecError('assignment.kind = "declared-exchangeable" is someone\'s word: name them in declared_by')
    if asked.record is not None:
        raise SpecError('assignment.record is the record of a draw: set kind = "random", or leave it out')
