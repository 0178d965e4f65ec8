"""The axis that all checks share, from a model that never saw the forget set (0) to the original (1), as rows to draw.

The page draws a row as an SVG of its own whose places are shares of its width: it is as wide as the page at any size,
and its words stay as large as all others.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from auditor.records.evidence import Evidence, Interval
from auditor.records.policy import Thresholds
from auditor.reports import formats, text
from auditor.reports.titles import titles

LOW, HIGH = -0.25, 1.25  # of ρ; what lies beyond gets an arrow

State = Literal["accuses", "clears", "silent", "plain"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Strip:
    """One check's ρ, in percent of the width of the axis.

    Attributes:
        left: end of the interval, at the edge where it goes on beyond it.
        right: its other end.
        point: the estimate; None where it lies beyond the axis.
        before: whether the interval goes on to the left.
        beyond: whether it goes on to the right.
        dots: the models that never saw the forget set.
    """

    left: float
    right: float
    point: float | None
    before: bool
    beyond: bool
    dots: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AxisRow:
    """One check on the axis.

    Attributes:
        check: its name.
        title: what was done, in words that no other row here has.
        family: what kind of evidence it is, in plain words.
        anchor: of its section; empty where the page has none.
        primary: whether a deletion rests on it.
        part: what it did for the verdict, in a few words.
        state: what came of it.
        share: the estimate, as a percentage.
        limits: from where to where it may lie.
        reason: why it cannot clear; empty where it can.
        spoken: all of it, for who cannot see the drawing.
        strip: what is drawn.
    """

    check: str
    title: str
    family: str
    anchor: str
    primary: bool
    part: str
    state: State
    share: str
    limits: str
    reason: str
    spoken: str
    strip: Strip


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A place on the axis with words: 0, 1 and the thresholds."""

    at: float
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """Rows over a common axis."""

    rows: tuple[AxisRow, ...]
    never: Mark
    original: Mark
    accuse: Mark
    clear: Mark


def build(
    evidence: Sequence[Evidence],
    bars: Thresholds,
    accusing: Collection[str],
    clearing: Collection[str] = (),
    bounding: str | None = None,
    anchors: dict[str, str] | None = None,
) -> Axis:
    """The axis of these checks, in the order given; those without ρ are left out.

    Args:
        evidence: of every check to show.
        bars: the policy's.
        accusing: names of the checks on which it rests that something is left.
        clearing: names of those on which a deletion rests.
        bounding: name of the one whose upper limit is the bound; None where there is none.
        anchors: of the checks' sections, by name.
    """
    placed = [(e, e.rho) for e in evidence if e.rho is not None]
    named = titles([e for e, _ in placed])
    rows = tuple(
        _row(e, rho, title, accusing, clearing, bounding, (anchors or {}).get(e.check, ""))
        for (e, rho), title in zip(placed, named, strict=True)
    )
    return Axis(
        rows=rows,
        never=Mark(at=_place(0.0), words="never saw it"),
        original=Mark(at=_place(1.0), words="like the original"),
        accuse=Mark(at=_place(bars.suppressed), words=formats.percent(bars.suppressed)),
        clear=Mark(at=_place(bars.deleted), words=formats.percent(bars.deleted)),
    )


def _row(
    e: Evidence,
    rho: Interval,
    title: str,
    accusing: Collection[str],
    clearing: Collection[str],
    bounding: str | None,
    anchor: str,
) -> AxisRow:
    value, low, high = map(_percent, rho.shown)
    state: State = (
        "accuses"
        if e.check in accusing
        else "clears"
        if e.check in clearing
        else "silent"
        if e.powerless_because is not None
        else "plain"
    )
    limits = f"{low} to {high}"
    return AxisRow(
        check=e.check,
        title=title,
        family=text.FAMILIES[e.family],
        anchor=anchor,
        primary=e.primary,
        part="sets the limit" if e.check == bounding else _part(e, state, decided=bool(accusing or clearing)),
        state=state,
        share=value,
        limits=limits,
        reason=formats.prose(e.powerless_because or ""),
        spoken=f"{e.check}: {value}, between {limits}" + (", accuses" if state == "accuses" else ""),
        strip=Strip(
            left=_place(max(rho.low, LOW)),
            right=_place(min(rho.high, HIGH)),
            point=_place(rho.value) if LOW <= rho.value <= HIGH else None,
            before=rho.low < LOW,
            beyond=rho.high > HIGH,
            dots=tuple(_place(r) for r in e.reference_rho.values() if LOW <= r <= HIGH),
        ),
    )


def _part(e: Evidence, state: State, *, decided: bool) -> str:
    if state == "accuses":
        return "decided this"
    if state == "clears":
        return "decided this"
    if state == "silent":
        return "cannot clear"
    if e.primary and not decided:
        return "has to clear"
    return "what a user sees" if e.role == "outputs" else "not needed"


def _percent(rho: float) -> str:
    # A stranger's file, or a check without a gap, may hold any number.
    return formats.percent(rho) if abs(rho) < 10 else ("far above" if rho > 0 else "far below")


def _place(rho: float) -> float:
    """Percent of the width, at a precision that no eye can tell."""
    return round(100 * (min(max(rho, LOW), HIGH) - LOW) / (HIGH - LOW), 2)
