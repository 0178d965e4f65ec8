"""Draws lines over a common axis, one per model, in panels that the page sets side by side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from auditor.records.figure import Figure
from auditor.reports import formats
from auditor.reports.curves import Line, Panel
from auditor.reports.figures import (
    FONT,
    LETTER,
    MUTED,
    PAPER,
    SMALL,
    STROKES,
    WIDTH,
    Drawing,
    Sheet,
    settings,
)

MOST_PANELS = 12  # the caption says when there are more
MOST_TICKS = 12
MOST_ROWS = 40  # of names beside the axis: a stranger's file may list any number
MOST_LETTERS = 24  # of such a name
SMALLEST_RATE = 1e-4
SMALLEST_SIZE = 1e-3  # sizes below it lie on a linear stretch, so that 0 can be drawn
LEFT, RIGHT = 42.0, 10.0  # room for the numbers of the vertical axis, and for half of the last tick's
HEAD, FOOT = 22.0, 22.0  # for a panel's title, and for the ticks
ROW = 20.0  # of a name beside the axis
# Where there is no line to follow, marks at the same place are set beside each other.
_ASIDE = {"original": -0.16, "reference": -0.04, "drawn": 0.02, "decoy": 0.1, "unlearned": 0.2}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    """What all panels of one figure share, so that they can be compared.

    Attributes:
        figure: how the axes are meant.
        ticks: names along the axis; empty where it counts numbers.
        beside: whether the names stand one below the other, since they do not fit side by side.
        values: of all lines.
    """

    figure: Figure
    ticks: tuple[str, ...]
    beside: bool
    values: tuple[float, ...]

    @property
    def left(self) -> float:
        """Room for the longest name, or for the numbers of the vertical axis."""
        if not self.beside:
            return LEFT
        return 12 + LETTER * SMALL / FONT * min(max(map(len, self.ticks)), MOST_LETTERS)


def draw(panels: Sequence[Panel], ticks: Sequence[str], figure: Figure, anchor: str, title: str) -> Drawing:
    """Draw the panels of one figure.

    Args:
        panels: at least one, each with at least one line.
        ticks: names along x; empty where x is a number.
        figure: how the axes are meant.
        anchor: what the ids in the figure begin with.
        title: read out in place of the figure.
    """
    caption = figure.caption
    if len(panels) > MOST_PANELS:
        caption += f" The first {MOST_PANELS} of {len(panels)} panels are drawn; results.json has all."
    frame = _Frame(
        figure=figure,
        ticks=tuple(ticks),
        # Turned names can hardly be read, and one below the other they need not be cut.
        beside=bool(ticks) and not _fit(ticks),
        values=tuple(v for panel in panels for line in panel.lines for v in line.y),
    )
    shown = panels[:MOST_PANELS]
    with settings():
        sheet, axes = _empty(shown, frame)
        svgs = tuple(
            _panel(panel, frame, sheet, axes, f"{anchor}-{i}" if i else anchor, title) for i, panel in enumerate(shown)
        )
    return Drawing(
        svgs=svgs, caption=caption, aside=figure.aside, key=_key(panels, figure),
        up=figure.x_label if frame.beside else figure.y_label,
        across=figure.y_label if frame.beside else figure.x_label,
    )  # fmt: skip


def _fit(ticks: Sequence[str]) -> bool:
    """Whether the names fit below the axis side by side."""
    shown = ticks[:: -(-len(ticks) // MOST_TICKS)]
    # Numbers may be thinned out, since those between can be told; names may not.
    if any(not tick.isdigit() for tick in ticks) and len(shown) < len(ticks):
        return False
    return sum(len(tick) + 2 for tick in shown) * LETTER < WIDTH - LEFT - RIGHT


def _empty(panels: Sequence[Panel], frame: _Frame) -> tuple[Sheet, Axes]:
    """Axes without lines on a sheet, for every panel in turn: to make them takes longer than to draw in them."""
    height = 110.0 if len(panels) > 1 else 150.0
    if frame.beside:
        height = ROW * min(len(frame.ticks), MOST_ROWS)
    head = HEAD if any(panel.title for panel in panels) else 8.0
    sheet = Sheet(head + height + FOOT)
    axes = sheet.axes(left=frame.left, top=head, width=WIDTH - frame.left - RIGHT, height=height)
    _scale(axes, frame, [v for panel in panels for line in panel.lines for v in line.x])
    return sheet, axes


def _panel(panel: Panel, frame: _Frame, sheet: Sheet, axes: Axes, anchor: str, title: str) -> Markup:
    longest = int(WIDTH * FONT / (LETTER * SMALL)) - 4
    written = sheet.write(2, 14, formats.shorten(panel.title, longest), fontsize=SMALL, color=MUTED)
    plotted = [_plot(axes, line, frame) for line in panel.lines]
    words = f"{panel.title or 'one panel'}: {frame.figure.y_label} against {frame.figure.x_label}, by model"
    svg = sheet.svg(anchor, title, f"{words}; lines: {len(panel.lines)}.")
    for artist in (written, *plotted):
        artist.remove()
    # Forgets how far the lines went, by which the next panel's axis would be scaled.
    axes.relim()
    return svg


def _scale(axes: Axes, frame: _Frame, places: Sequence[float]) -> None:
    figure = frame.figure
    axes.grid(axis="x" if frame.beside else "y")
    if figure.scale == "rates":
        _rates(axes, [*places, *frame.values])
        return
    values = axes.xaxis if frame.beside else axes.yaxis
    if figure.scale == "sizes":
        _sizes(values, max(frame.values))
    else:
        low, high = min(frame.values), max(frame.values)
        # A flat line has no range of its own to pad.
        pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
        _limit(values, low - pad, high + pad)
        _numbered(values, 5)
    if frame.beside:
        _names_beside(axes, frame.ticks)
    elif frame.ticks:
        shown = range(0, len(frame.ticks), -(-len(frame.ticks) // MOST_TICKS))
        axes.set_xticks(list(shown), [frame.ticks[i] for i in shown])
        axes.set_xlim(-0.4, len(frame.ticks) - 0.6)
    else:
        _numbered(axes.xaxis, 6)


def _names_beside(axes: Axes, ticks: Sequence[str]) -> None:
    shown = range(min(len(ticks), MOST_ROWS))
    axes.set_yticks(list(shown), [formats.shorten(ticks[i], MOST_LETTERS) for i in shown])
    # The first at the top, as one reads.
    axes.set_ylim(len(shown) - 0.5, -0.5)


def _numbered(axis: Axis, most: int) -> None:
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))


def _limit(axis: Axis, low: float, high: float) -> None:
    # Axis itself has no public way to set its limits.
    set_limits = axis.axes.set_xlim if axis is axis.axes.xaxis else axis.axes.set_ylim
    set_limits(low, high)


def _sizes(axis: Axis, largest: float) -> None:
    """Powers of ten with 0 at the foot: one tensor that moved a hundredfold must not flatten the others."""
    top = max(math.ceil(math.log10(max(largest, SMALLEST_SIZE))), -2)
    low = round(math.log10(SMALLEST_SIZE))
    powers = [10.0**k for k in range(low, top + 1, 1 + (top - low) // 6)]
    # Linear at the foot: a logarithm has no place for the 0 of a tensor that did not move.
    set_scale = axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale
    set_scale("symlog", linthresh=SMALLEST_SIZE, linscale=0.6)
    _limit(axis, -0.2 * SMALLEST_SIZE, 10.0**top)
    axis.set_major_locator(FixedLocator([0.0, *powers]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _rates(axes: Axes, values: Sequence[float]) -> None:
    """From the decade of the smallest rate: with few examples the lower ones hold nothing."""
    smallest = min((value for value in values if value > 0), default=SMALLEST_RATE)
    # The small term keeps 0.001, whose logarithm may come out just below −3, in its own decade.
    low = 10.0 ** math.floor(math.log10(min(max(smallest, SMALLEST_RATE), 0.1)) + 1e-9)
    # Masked, not clipped: a rate of 0 drawn at the edge would look like one that was measured there.
    axes.set_xscale("log", nonpositive="mask")
    axes.set_yscale("log", nonpositive="mask")
    axes.set_xlim(low, 1)
    # Beyond 1, so that a perfect curve does not hide in the frame.
    axes.set_ylim(low, 1.15)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([1e-4, 1e-3, 1e-2, 1e-1, 1]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    # What a guess gives: hits as often as false alarms.
    axes.plot([low, 1], [low, 1], color=MUTED, linewidth=1, linestyle=":")


def _plot(axes: Axes, line: Line, frame: _Frame) -> Line2D:
    stroke, joined = STROKES[line.role], frame.figure.joined
    # Marks show where something was measured; on longer lines they would run into each other.
    dotted = not joined or len(line.x) <= 8
    aside = 0.0 if joined else _ASIDE[line.role]
    along = [x + aside for x in line.x]
    x, y = (line.y, along) if frame.beside else (along, line.y)
    (plotted,) = axes.plot(
        x,
        y,
        color=stroke.colour,
        linewidth=stroke.width,
        linestyle=stroke.dash if joined else "none",
        marker=stroke.marker if dotted else "none",
        markersize=3.2 + 0.8 * stroke.width,
        markerfacecolor=stroke.colour if stroke.filled else PAPER,
        markeredgewidth=1,
        zorder=stroke.order,
    )
    return plotted


def _key(panels: Sequence[Panel], figure: Figure) -> Mapping[str, str]:
    """What each role that is drawn is called, in the order of the lines."""
    # By role, not by model: references and decoys look alike, and one entry each explains them.
    others = "decoys" if figure.lines == "model" else "controls"
    names = {"reference": "references", "decoy": others, "drawn": "drawn only"}
    lines = [line for panel in panels for line in panel.lines]
    return {line.role: formats.shorten(names.get(line.role, line.model), 24) for line in lines}
