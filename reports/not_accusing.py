"""Why a check whose whole interval lies above the threshold to accuse does not accuse all the same."""

from auditor.records.evidence import Evidence
from auditor.records.results import Results
from auditor.reports import formats


def not_accusing(e: Evidence, results: Results) -> str:
    """One sentence; empty where the check accuses, or where nobody would expect it to."""
    bar = results.plan.policy.thresholds.suppressed
    # The outputs have a rule of their own, and informational checks accuse nobody.
    if e.may == "inform" or e.role == "outputs" or e.check in results.verdict.accusers:
        return ""
    if e.rho is None or e.rho.low <= bar:
        return ""
    above = f"Its whole interval lies above {formats.percent(bar)}, and yet it does not accuse"
    if "DAMAGED" in results.verdict.flags and e.family == "tampering":
        return f"{above}: the model is damaged, and what an attack brings back from damage says nothing."
    if e.p_value is None:
        return f"{above}: nothing tells how often chance alone gives as much."
    # The interval looks at this check by itself; of many checks one reads high by luck more often.
    return (
        f"{above}: the interval is that of this check alone, and of many checks one may read so high by luck. "
        f"Its p-value, {formats.p_value(e.p_value)}, is not small enough when corrected for the number of checks."
    )
