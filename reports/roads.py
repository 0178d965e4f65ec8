"""What each road to a verdict was going to bring, in sentences."""

from auditor.records.plan import PlannedAssignment
from auditor.records.road import Road
from auditor.reports.formats import number


def words(found: Road, divided: PlannedAssignment) -> str:
    """What one road brings, in one sentence."""
    beside = "no other model" if not found.models else f"{found.models} {_beside(found)}"
    held = f"{divided.n_holdout} holdout subjects and {beside}" if found.null == "holdout" else beside
    if found.resolution is None:
        by = ", ".join(found.resolutions)
        return (
            f"With {held}: only {by} tells the original from what it is held against; the other primary cannot clear."
        )
    checks = ", ".join(f"{name} {number(w, 2)}" for name, w in found.resolutions.items())
    said = f"resolution {number(found.resolution, 2)}{f' ({checks})' if checks else ''}"
    return (
        f"With {held}: {said}, and a true deletion passes the primaries with probability "
        f"{number(found.pass_probability, 2)}{_assuming(found)}."
    )


def _beside(found: Road) -> str:
    if found.null == "references":
        return "references"
    return "model that saw neither" if found.models == 1 else "models that saw neither"


def _assuming(found: Road) -> str:
    if found.gap is None:
        return ""
    if found.null == "references":
        return f", if original and references lie {found.gap:g} spreads of the references apart"
    halves = " (half of their variance predicted)" if found.models else ""
    needed = "" if found.subjects_needed is None else f"; {found.subjects_needed} subjects on either side would do"
    return (
        f", if the original's forget subjects stand {found.gap:g} spreads between subjects{halves} above its holdout "
        f"subjects{needed}"
    )
