"""What to supply so that an audit could decide."""

import math

from auditor.inference.case import Case
from auditor.inference.statistics import references_needed
from auditor.records.evidence import Evidence


def to_decide(case: Case) -> tuple[str, ...]:
    """What would let the next audit decide, most useful first; for outcomes that leave something open."""
    # These put DELETED out of reach whatever the checks measure, so they come first.
    wishes = list(case.plan.feasibility.obstacles)
    wishes += [words for e in _unresolved(case) if (words := _finer(case, e))]
    wishes += [f"fix {e.check}: {e.failure.reason}" for e in case.evidence if e.failure is not None]
    if case.recipe_mismatch:
        wishes.append("references trained by the original's recipe")
    if not wishes and case.outputs is not None and case.outputs.resolution is not None:
        wishes.append(
            "more references (`audit reference --until-resolved`) or more forget examples: what was found lies between "
            f"what clears and what accuses (the outputs are resolved to {case.outputs.resolution:.2f})"
        )
    return tuple(dict.fromkeys(wishes)) or ("more references or more forget examples: nothing here decides",)


def _unresolved(case: Case) -> list[Evidence]:
    """Primaries, and the outputs, that cannot see a residue of the size they would have to rule out."""
    bars = case.policy.thresholds
    outputs = [case.outputs] if case.outputs is not None else []
    # Each must resolve what its rule asks of an upper limit: outputs τ_suppressed (rule 1), primaries τ_deleted. At
    # w = τ_deleted half of all true retrains pass, at the sharp share of it nearly four in five (docs/references.md);
    # both by what the check reads of a suppressed copy.
    wanted = [(e, bars.suppressed) for e in outputs] + [(e, bars.sharp_resolution * e.shows) for e in case.primaries]
    return [e for e, most in wanted if e.resolution is not None and e.resolution > most]


def _finer(case: Case, e: Evidence) -> str | None:
    """How many references, or subjects, would do, if gap and spread stayed what they are."""
    bars = case.policy.thresholds
    wanted = bars.suppressed if e.role == "outputs" else bars.sharp_resolution * e.shows
    if e.null_kind == "holdout":
        return _more_subjects(case, e, wanted)
    # Where another null stands, the number of references does not enter the resolution.
    if e.resolution is None or e.spread is None or e.null_kind != "references":
        return None
    n = references_needed(e.resolution, e.spread.n_references, wanted)
    if n is None:
        return (
            f"more forget examples: {e.check} resolves {e.resolution:.2f}, and a hundred references would not make it "
            f"{wanted:.2f}"
        )
    # Where no model is run none can be trained here either.
    command = f": `audit reference --count {n}`" if not case.plan.answers_only else ""
    return f"{n} references, so that {e.check} resolves {wanted:.2f} instead of {e.resolution:.2f}{command}"


def _more_subjects(case: Case, e: Evidence, wanted: float) -> str | None:
    divided = case.plan.assignment
    if divided is None or e.resolution is None:
        return None
    # The standard error of a difference of means falls with the root of how many there are.
    factor = (e.resolution / wanted) ** 2
    words = (
        f"{math.ceil(factor * divided.n_forget)} forget and {math.ceil(factor * divided.n_holdout)} holdout subjects, "
        f"so that {e.check} resolves {wanted:.2f} instead of {e.resolution:.2f}"
    )
    # It says how hard each subject is, which takes that out of the spread.
    helped = case.plan.models_of("reference") or case.plan.models_of("neither")
    return words if helped else f"{words}; or one model that saw neither (models.neither)"
