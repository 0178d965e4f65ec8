"""The null that a check draws itself, on the model it measures: random directions, permuted labels."""

import numpy as np

from auditor.inference import statistics
from auditor.inference.compared import Comparison, Question

KIND: str = "internal"
WORDS: str = "the check’s own null"
RANK: int = 30


def compare(asked: Question) -> Comparison | None:
    """Hold the subject against its own draws, and the original against a baseline of its own where it has one."""
    scores, check = asked.scores, asked.check
    null = scores.unlearned.null
    # After a random intervention the original still answers: held against draws of its own it would hardly rise above
    # them, and any trace in the subject would be all of it (docs/verdict.md, a check's own null).
    baseline = scores.original.null if check.null_lacks_knowledge else null
    if not null or not baseline:
        return None
    value = scores.unlearned.total(asked.chosen)
    delta = scores.original.total(asked.chosen) - float(np.mean(baseline))
    # Without a gap a residue of τΔ means nothing, so that there is no p-value either.
    limits, bars = statistics.internal_null_limits(value, delta, null), asked.policy.thresholds
    p, trace = (
        statistics.p_internal_null(value, delta, null, tau + bars.tolerance) if limits is not None else None
        for tau in (bars.suppressed, 0.0)
    )
    return Comparison(
        against="its own null",
        null=float(np.mean(null)),
        limits=limits,
        p_value=p,
        p_trace=trace,
        cannot_clear="without references it can accuse through its own null, but not clear",
    )
