"""Assurance: what the null was made of, and whether the references count."""

from auditor.inference.case import percent
from auditor.records.evidence import Evidence
from auditor.records.plan import Plan, PlannedAssignment
from auditor.records.verdict import Assurance

REFERENCES_FOR_A3 = 4
# The spread that a domain lends adds degrees of freedom, so that one reference fewer will do (docs/verdict.md).
REFERENCES_FOR_A3_CALIBRATED = 3


SUBJECTS_FOR_A3R = 20
"""On either side. Welch's test of fewer rests on too few to trust its limits (docs/verdict.md)."""


def subjects_lack(divided: PlannedAssignment) -> str | None:
    """What an assignment lacks to clear, in one clause; None where nothing."""
    return few_subjects(divided.n_forget, divided.n_holdout)


def few_subjects(n_forget: int, n_holdout: int) -> str | None:
    """That so many subjects on either side are too few, in one clause; None where they are not."""
    if min(n_forget, n_holdout) >= SUBJECTS_FOR_A3R:
        return None
    return f"{n_forget} forget and {n_holdout} holdout subjects, DELETED needs {SUBJECTS_FOR_A3R} of either"


def assurance_level(plan: Plan, recipe_mismatch: str | None = None) -> Assurance:
    """A3 to A0, from what the null is made of; A3r where chance divided the subjects, A3d where someone declares so."""
    # References stand for "never saw it" only where they were trained by the original's recipe (docs/verdict.md).
    k = 0 if recipe_mismatch else len(plan.models_of("reference"))
    if plan.assignment is not None:
        enough = subjects_lack(plan.assignment) is None
        if plan.assignment.by_chance:
            return "A3r" if enough else "A1"
        return "A3d" if enough and k > 0 else "A1"
    inside = spread_is_known(plan)
    if k >= (REFERENCES_FOR_A3_CALIBRATED if inside else REFERENCES_FOR_A3):
        return "A3"
    if k >= (1 if inside else 2):
        return "A2"
    # From such a set a check can draw a null of its own, which may accuse and not clear.
    if any(item.name in ("holdout", "control") for item in plan.data):
        return "A1"
    return "A0"


def spread_is_known(plan: Plan) -> bool:
    """Whether calibration lends this audit a spread, so that fewer references will do."""
    return plan.domain is not None and bool(plan.domain.spread)


def recipe_mismatch(plan: Plan, outputs: Evidence | None) -> str | None:
    """Why the references cannot stand for a retrained model, or None.

    They count only if their retain accuracy brackets the subject's within τ_retain. A subject *below* them is
    damaged, which is the verdict's business; one *above* them was trained better than they were.
    """
    # Where chance divided the subjects, any model that saw neither side will do.
    if plan.assignment is not None and plan.assignment.by_chance:
        return None
    if outputs is None or outputs.utility is None or not outputs.utility.references:
        return None
    best = max(outputs.utility.references.values())
    subject = outputs.utility.unlearned
    if subject <= best + plan.policy.thresholds.retain:
        return None
    return (
        f"the references' recipe does not match: the unlearned model keeps {percent(subject)} on retain, "
        f"the best reference only {percent(best)}; train references as long as the original"
    )
