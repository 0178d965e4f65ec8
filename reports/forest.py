"""The two figures that every audit has: the forest plot, and the dot plot of one check's scores."""

import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from auditor.records.evidence import Evidence, Interval, ModelScores
from auditor.records.policy import Thresholds
from auditor.reports import text
from auditor.reports.figures import (
    CLEAR,
    INK,
    LETTER,
    MUTED,
    PAPER,
    RESIDUE,
    RULE,
    SMALL,
    STROKES,
    UNLEARNED,
    WIDTH,
    Drawing,
    Sheet,
    is_drawable,
    settings,
)

MOST_ROWS = 40  # of a dot plot: a stranger's file may list any number of models


@dataclass(frozen=True, kw_only=True, slots=True)
class _ForestRow:
    evidence: Evidence
    rho: Interval
    reason: tuple[str, ...]
    accuses: bool
    top: float

    @property
    def line(self) -> float:
        """Where the interval lies, in points below the top of the rows."""
        return self.top + 32.0

    @property
    def height(self) -> float:
        return 52.0 + 16.0 * len(self.reason)


def _forest_rows(evidence: Sequence[Evidence], accusing: Collection[str]) -> list[_ForestRow]:
    rows: list[_ForestRow] = []
    top = 6.0
    for item in evidence:
        if item.rho is None:
            continue
        words = text.prose(text.clean(item.powerless_because or ""))
        # Six lines at most: the check's own section has the whole sentence.
        reason = tuple(textwrap.wrap(words, int(WIDTH / LETTER) - 2)[:6])
        rows.append(_ForestRow(evidence=item, rho=item.rho, reason=reason, accuses=item.check in accusing, top=top))
        top += rows[-1].height
    return rows


def forest(evidence: Sequence[Evidence], bars: Thresholds, accusing: Collection[str]) -> Drawing | None:
    """Every check's ρ with its interval on one axis, in the order given; None where no check has one.

    Args:
        evidence: of every check.
        bars: the policy's.
        accusing: names of the checks on which the verdict rests that something is left.
    """
    rows = _forest_rows(evidence, accusing)
    if not rows:
        return None
    # In points: above stand the names of the zones, below the words under 0 and 1.
    head, foot, margin = 56.0, 64.0, 14.0
    body = rows[-1].top + rows[-1].height
    with settings():
        sheet = Sheet(head + body + foot)
        axes = sheet.axes(left=margin, top=head, width=WIDTH - 2 * margin, height=body)
        # Downwards, as places on the sheet are measured.
        axes.set_ylim(body, 0)
        # To the left of −τ_over, so that the zone of deletion is seen to end. What lies beyond the axis gets an arrow.
        axes.set_xlim(min(-1.0, -bars.over - 0.25), 1.5)
        _forest_scale(axes, bars)
        for row in rows:
            _forest_row(axes, row, bars)
        svg = sheet.svg("forest", "Residual knowledge index of every check", _forest_words(rows))
    return Drawing(svg=svg, caption="")


def _forest_scale(axes: Axes, bars: Thresholds) -> None:
    low, high = axes.get_xlim()
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_visible(False)
    axes.set_xticks([-0.5, 0, 0.5, 1], ["−0.5", "0", "0.5", "1"])
    below = axes.get_ylim()[0]
    for x, words in ((0.0, "like a model that\nnever saw it"), (1.0, "like the\noriginal")):
        axes.text(x, below + 20, words, ha="center", va="top", fontsize=SMALL, linespacing=1.15)
    axes.text(low, below + 20, "ρ →", ha="left", va="top", color=MUTED)
    # One above the other, since they overlap: an interval within both is bounded, yet too high to be chance.
    _zone(axes, -bars.over, bars.deleted, CLEAR, "within: consistent with deletion", -34)
    _zone(axes, bars.suppressed, high, RESIDUE, "within: residue", -9)


def _zone(axes: Axes, left: float, right: float, colour: str, words: str, y: float) -> None:
    axes.plot([left, right], [y, y], color=colour, linewidth=4, solid_capstyle="butt", clip_on=False)
    axes.text(left, y - 5, words, fontsize=SMALL, va="bottom", ha="left")


def _forest_row(axes: Axes, row: _ForestRow, bars: Thresholds) -> None:
    item, faded = row.evidence, row.evidence.powerless_because is not None
    low, high = axes.get_xlim()
    # Accusing comes first: a check without the power to clear may still accuse.
    colour = UNLEARNED if row.accuses else MUTED if faded else INK
    marks = (" · primary" if item.primary else "") + (" · accuses" if row.accuses else "")
    weight = "bold" if item.primary else "normal"
    name = text.shorten(item.check, 36 - len(marks))
    title = axes.text(low, row.top + 16, name, weight=weight, color=colour, va="baseline")
    # Smaller, so that a primary with a long name that accuses does not run into its ρ.
    axes.annotate(
        marks.strip(), (1, row.top + 16), (4, 0), (title, "data"), "offset points",
        color=colour, fontsize=SMALL, va="baseline",
    )  # fmt: skip
    axes.text(high, row.top + 16, text.rho(row.rho), color=colour, ha="right", va="baseline")
    # Drawn to the edge and no further; the arrow below says that the interval goes on.
    left, right = (min(max(x, low), high) for x in (row.rho.low, row.rho.high))
    width = 3.0 if item.primary else 1.8
    _track(axes, row.line, bars)
    axes.plot([left, right], [row.line] * 2, color=colour, linewidth=width, solid_capstyle="butt", zorder=3)
    if low <= row.rho.value <= high:
        # Hollow without power: silence of such a check counts for nothing.
        face = PAPER if faded and not row.accuses else colour
        size = 8.5 if item.primary else 6.5
        axes.plot(row.rho.value, row.line, "D" if item.primary else "o", color=colour, markerfacecolor=face,
                  markersize=size, markeredgewidth=1.5, zorder=4)  # fmt: skip
    for edge, outside, marker in ((low, row.rho.low < low, "<"), (high, row.rho.high > high, ">")):
        if outside:
            axes.plot(edge, row.line, marker, color=colour, markersize=9, clip_on=False, zorder=4)
    if item.role == "outputs":
        # Of `outputs` it is the estimate that has to lie below τ_output to be forgotten, not the whole interval.
        axes.plot([bars.output] * 2, [row.line - 7, row.line + 7], color=INK, linewidth=1.6, zorder=2)
    for i, line in enumerate(row.reason):
        axes.text(low, row.line + 24 + 16 * i, line, fontsize=SMALL, color=MUTED, va="baseline")


def _track(axes: Axes, line: float, bars: Thresholds) -> None:
    """The scale behind one interval: the zones shaded, 0 and 1 ruled."""
    low, high = axes.get_xlim()
    # Drawn at every row: on a long page the zones at the top and the axis at the foot are out of sight.
    top, bottom = line - 9, line + 9
    for left, right, colour in ((-bars.over, bars.deleted, CLEAR), (bars.suppressed, high, RESIDUE)):
        axes.fill_between([left, right], top, bottom, color=colour, alpha=0.16, linewidth=0, zorder=0)
    axes.plot([low, high], [bottom, bottom], color=RULE, linewidth=0.8, zorder=1)
    for x in (0.0, 1.0):
        axes.plot([x, x], [top, bottom], color=MUTED, linewidth=0.9, zorder=1)


def _forest_words(rows: Sequence[_ForestRow]) -> str:
    return "; ".join(
        f"{row.evidence.check}{' (primary)' if row.evidence.primary else ''}: ρ = {text.rho(row.rho)}"
        + (", accuses" if row.accuses else "")
        + (f", no power: {row.evidence.powerless_because}" if row.evidence.powerless_because else "")
        for row in rows
    )


def dots(scores: ModelScores, unit: str, anchor: str, check: str) -> Drawing:
    """The score of every model on one axis, for a check without a figure of its own."""
    rows = [row for row in _dot_rows(scores) if row[2]]
    with settings():
        # 26 points a row; 88 for the axis and its label of up to four lines.
        sheet = Sheet(26.0 * len(rows) + 88)
        axes = sheet.axes(left=150, top=8, width=WIDTH - 166, height=26.0 * len(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        for y, (name, role, values) in enumerate(rows):
            stroke = STROKES[role]
            face = stroke.colour if stroke.filled else PAPER
            axes.plot(values, [y] * len(values), stroke.marker, color=stroke.colour, markerfacecolor=face,
                      markersize=7, linestyle="none", zorder=3)  # fmt: skip
            axes.text(-0.03, y, text.shorten(name, 19), color=stroke.colour, ha="right", va="center",
                      transform=axes.get_yaxis_transform())  # fmt: skip
        axes.margins(x=0.08)
        axes.grid(axis="x")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("\n".join(textwrap.wrap(text.shorten(unit, 120), 36)))
        words = "; ".join(f"{name}: {', '.join(text.number(v) for v in values)}" for name, _, values in rows)
        svg = sheet.svg(anchor, f"Score of every model, {text.shorten(check, 60)}", words)
    return Drawing(svg=svg, caption="The score of every model; this is the number that ρ is made from.")


def _dot_rows(scores: ModelScores) -> Iterator[tuple[str, str, list[float]]]:
    rows = [("original", "original", [scores.original]), ("unlearned", "unlearned", [scores.unlearned])]
    # In one row, since their scatter is what the other scores are held against.
    rows.append(("references", "reference", list(scores.references.values())))
    for role, found in (("drawn", scores.drawn), ("decoy", scores.decoys)):
        rows += [(name, role, [value]) for name, value in found.items()]
    for name, role, values in rows[:MOST_ROWS]:
        yield name, role, [value for value in values if is_drawable(value)]
