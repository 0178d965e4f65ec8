"""What each road to a verdict was going to bring, in sentences."""

from collections.abc import Iterator

from auditor.records.plan import PlannedAssignment
from auditor.records.prospect import Prospect, Prospects, Range
from auditor.records.road import Road
from auditor.reports.formats import number


def words(found: Road, divided: PlannedAssignment) -> str:
    """What one road brings, in one sentence."""
    held = _held(found, divided)
    if found.resolution is None:
        by = ", ".join(found.resolutions)
        return (
            f"With {held}: only {by} tells the original from what it is held against; the other primary cannot clear."
        )
    checks = ", ".join(f"{name} {number(w, 2)}" for name, w in found.resolutions.items())
    said = f"resolution {number(found.resolution, 2)}{f' ({checks})' if checks else ''}"
    return (
        f"With {held}: {said}, and a true deletion passes the primaries with probability "
        f"{number(found.pass_probability, 2)}{_assuming(found)}{_unwidened(found, divided)}."
    )


def expected(found: Prospects) -> Iterator[str]:
    """What each road would bring if the original were like others: the assumption, then a sentence for each road."""
    alike = "" if found.divided.by_chance else "; what a declared division brings was measured on none of them"
    yield (
        "Nothing of this original is measured yet. If it is like the models of docs/validity.md "
        f"({found.about}; other models for references than for the holdout){alike}, then in the median of these "
        "models, and in brackets from the lowest to the highest, by the primaries' limits and tests alone, whether or "
        "not they see through their decoys:"
    )
    for road in found.found:
        models = "1 original" if road.originals == 1 else f"{road.originals} originals"
        yield (
            f"With {_held(road, found.divided)}: resolution {_range(road.resolution)}, and a true deletion passes the "
            f"primaries with probability {_range(road.pass_probability)} ({models})."
        )


def _range(found: Range) -> str:
    return f"{number(found.median, 2)} [{number(found.low, 2)} to {number(found.high, 2)}]"


def _held(found: Road | Prospect, divided: PlannedAssignment) -> str:
    """What the unlearned model is held against."""
    beside = "no other model" if not found.models else f"{found.models} {_beside(found)}"
    return f"{divided.n_holdout} holdout subjects and {beside}" if found.null == "holdout" else beside


def _beside(found: Road | Prospect) -> str:
    if found.null == "references":
        return "references"
    return "model that saw neither" if found.models == 1 else "models that saw neither"


def _unwidened(found: Road, divided: PlannedAssignment) -> str:
    """Of a declared division that is not measured: how far apart the reference holds the sides is not known either."""
    if found.null != "holdout" or found.gap is None or divided.by_chance:
        return ""
    return "; the limits are wider yet by what the reference will tell the sides apart by"


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
