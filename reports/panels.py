"""Draws lines over a common axis, one per model, in one panel or several: most checks are drawn this way."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from auditor.records.figure import Figure
from auditor.reports import text
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
    spread_apart,
)

MOST_PANELS = 12  # the caption says when there are more
MOST_TICKS = 12
MOST_LETTERS = 16  # of a name along the axis
TURN = 50.0  # degrees by which names along the axis are turned where they do not fit
STACKED_PANELS = 3  # up to so many stand below each other; more stand in two columns
SMALLEST_RATE = 1e-4
SMALLEST_SIZE = 1e-3  # sizes below it lie on a linear stretch, so that 0 can be drawn
LABELS = 122.0  # room for names at the ends of the lines
LINE = 15.0  # distance of two lines of small type
LEFT = 46.0  # room for the numbers of the vertical axis
_GROUPED = ("reference", "decoy", "drawn")  # share a label where they end together
# Where there is no line to follow, marks at the same place are set beside each other.
_ASIDE = {"original": -0.16, "reference": -0.04, "drawn": 0.02, "decoy": 0.1, "unlearned": 0.2}


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
    with settings():
        sheet = _draw_panels(panels[:MOST_PANELS], figure, ticks)
        words = (
            f"{figure.y_label} against {figure.x_label}; panels: {len(panels)}, "
            f"lines in the first: {len(panels[0].lines)}."
        )
        return Drawing(svg=sheet.svg(anchor, title, words), caption=caption, aside=figure.aside)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """Boxes of the panels, in points."""

    columns: int
    rows: int
    head: float
    width: float
    height: float
    foot: float
    left: float
    gap: float = 8.0
    title: float = 22.0

    @property
    def total(self) -> float:
        return self.head + self.rows * (self.title + self.height + self.foot) + LINE

    def box(self, index: int) -> dict[str, float]:
        row, column = divmod(index, self.columns)
        return {
            "left": self.left + column * (self.width + self.left + self.gap),
            "top": self.head + row * (self.title + self.height + self.foot) + self.title,
            "width": self.width,
            "height": self.height,
        }


def _layout(n: int, ticks: Sequence[str], key_lines: int) -> _Layout:
    columns = 1 if n <= STACKED_PANELS else 2
    # With a key above the panels nothing stands at the ends of the lines.
    right = 8.0 if key_lines else LABELS
    width = WIDTH - LEFT - right if columns == 1 else (WIDTH - 2 * LEFT - 16) / 2
    left, foot = LEFT, 24.0
    if not _fit(ticks, width):
        longest = LETTER * min(max(map(len, ticks)), MOST_LETTERS)
        foot = 16.0 + longest * math.sin(math.radians(TURN))
        # The turned name of the first tick reaches to the left of its axis.
        left = max(LEFT, longest * math.cos(math.radians(TURN)) - 0.4 * width / len(ticks))
        width -= left - LEFT
    return _Layout(
        columns=columns,
        rows=-(-n // columns),
        head=LINE * (key_lines + 1) + 4,
        width=width,
        height=120.0 if columns == 2 else 150.0 if n > 1 else 180.0,
        foot=foot,
        left=left,
    )


def _fit(ticks: Sequence[str], width: float) -> bool:
    """Whether the names fit below the axis without being turned."""
    return sum(len(tick) + 2 for tick in ticks) * LETTER < width


def _draw_panels(panels: Sequence[Panel], figure: Figure, ticks: Sequence[str]) -> Sheet:
    # Names at the ends of lines spare the reader a key, where lines have ends and there is room beside them.
    labelled = len(panels) <= STACKED_PANELS and figure.joined and figure.scale == "linear"
    key = [] if labelled else _key_lines(_key_names(panels, figure))
    layout = _layout(len(panels), ticks, len(key))
    sheet = Sheet(layout.total)
    for i, panel in enumerate(panels):
        axes = sheet.axes(**layout.box(i))
        _scale(axes, panels, figure, ticks, upright=_fit(ticks, layout.width))
        longest = int((layout.width + LEFT - 10) * FONT / (LETTER * SMALL))
        # From the edge of the numbers, not of the axis: in two columns a title needs the room.
        start = (10 - LEFT) / layout.width
        axes.set_title(text.shorten(panel.title, longest), x=start, color=MUTED, fontsize=SMALL)
        for line in panel.lines:
            _plot(axes, line, figure)
        if labelled:
            _direct_labels(axes, panel.lines, _others(figure))
    for i, entries in enumerate(key):
        _write_key(sheet, entries, LINE * (i + 1) - 2, figure)
    sheet.write(layout.left - LEFT + 10, layout.head - 4, f"↑ {figure.y_label}", fontsize=SMALL)
    sheet.write(layout.box(layout.columns - 1)["left"] + layout.width, layout.total - 4, f"{figure.x_label} →",
                fontsize=SMALL, ha="right")  # fmt: skip
    return sheet


def _scale(axes: Axes, panels: Sequence[Panel], figure: Figure, ticks: Sequence[str], *, upright: bool) -> None:
    axes.grid(axis="y")
    if figure.scale == "rates":
        _rates(axes, [v for panel in panels for line in panel.lines for v in (*line.x, *line.y)])
        return
    # One scale for all panels, so that heights can be compared between them.
    values = [y for panel in panels for line in panel.lines for y in line.y]
    if figure.scale == "sizes":
        _sizes(axes, max(values))
    else:
        low, high = min(values), max(values)
        # A flat line has no range of its own to pad.
        pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
        axes.set_ylim(low - pad, high + pad)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    if ticks:
        # Names thinned out can be read; all of them would lie upon each other.
        every = -(-len(ticks) // MOST_TICKS)
        shown = range(0, len(ticks), every)
        labels = [text.shorten(ticks[i], MOST_LETTERS) for i in shown]
        if upright:
            axes.set_xticks(list(shown), labels)
        else:
            axes.set_xticks(list(shown), labels, rotation=TURN, ha="right", rotation_mode="anchor")
        axes.set_xlim(-0.4, len(ticks) - 0.6)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))


def _sizes(axes: Axes, largest: float) -> None:
    """Powers of ten with 0 at the foot: one tensor that moved a hundredfold must not flatten the others."""
    top = max(math.ceil(math.log10(max(largest, SMALLEST_SIZE))), -2)
    low = round(math.log10(SMALLEST_SIZE))
    powers = [10.0**k for k in range(low, top + 1, 1 + (top - low) // 6)]
    # Linear at the foot: a logarithm has no place for the 0 of a tensor that did not move.
    axes.set_yscale("symlog", linthresh=SMALLEST_SIZE, linscale=0.6)
    axes.set_ylim(-0.2 * SMALLEST_SIZE, 10.0**top)
    axes.yaxis.set_major_locator(FixedLocator([0.0, *powers]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


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


def _plot(axes: Axes, line: Line, figure: Figure) -> None:
    stroke = STROKES[line.role]
    # Marks show where something was measured; on longer lines they would run into each other.
    dotted = not figure.joined or len(line.x) <= 8
    aside = 0.0 if figure.joined else _ASIDE[line.role]
    axes.plot(
        [x + aside for x in line.x],
        line.y,
        color=stroke.colour,
        linewidth=stroke.width,
        linestyle=stroke.dash if figure.joined else "none",
        marker=stroke.marker if dotted else "none",
        markersize=3.2 + 0.8 * stroke.width,
        markerfacecolor=stroke.colour if stroke.filled else PAPER,
        markeredgewidth=1,
        zorder=stroke.order,
    )


def _direct_labels(axes: Axes, lines: Sequence[Line], others: str) -> None:
    ends = list(_label_ends(axes, lines, others))
    box = axes.get_window_extent()
    # In pixels of the sheet, which are points: names must not overlap whatever the scale of the axis.
    heights = spread_apart([y for _, y, _ in ends], LINE, float(box.y0), float(box.y1))
    for (name, _, role), y in zip(ends, heights, strict=True):
        weight = "bold" if role == "unlearned" else "normal"
        axes.text(box.x1 + 8, y, text.shorten(name, 16), color=STROKES[role].colour, fontsize=SMALL,
                  weight=weight, va="center", transform=None)  # fmt: skip


def _label_ends(axes: Axes, lines: Sequence[Line], others: str) -> Iterator[tuple[str, float, str]]:
    """Names, with the height in points at which each would best stand, and the role; neighbours share one."""
    ends = [(line, float(axes.transData.transform((line.x[-1], line.y[-1]))[1])) for line in lines]
    yield from ((line.model, y, line.role) for line, y in ends if line.role not in _GROUPED)
    # One name for all of them at their mean: which reference is which means nothing to the reader.
    references = [y for line, y in ends if line.role == "reference"]
    if references:
        yield "references", sum(references) / len(references), "reference"
    for role, noun in (("decoy", others), ("drawn", "drawn only")):
        own = sorted(((y, line.model) for line, y in ends if line.role == role))
        for near in _near(own):
            name = near[0][1] if len(near) == 1 else noun if len(near) == len(own) else f"{len(near)} {noun}"
            yield name, sum(y for y, _ in near) / len(near), role


def _near(ordered: Sequence[tuple[float, str]]) -> list[list[tuple[float, str]]]:
    """Labels that would lie upon each other, together."""
    groups: list[list[tuple[float, str]]] = []
    for end in ordered:
        if groups and end[0] - groups[-1][-1][0] < LINE:
            groups[-1].append(end)
        else:
            groups.append([end])
    return groups


def _others(figure: Figure) -> str:
    return "decoys" if figure.lines == "model" else "controls"


def _key_names(panels: Sequence[Panel], figure: Figure) -> dict[str, str]:
    """What each role is called in the key, in the order of the lines."""
    # By role, not by model: references and decoys look alike, and one entry each explains them.
    names = {"reference": "references", "decoy": _others(figure), "drawn": "drawn only"}
    lines = [line for panel in panels for line in panel.lines]
    return {line.role: text.shorten(names.get(line.role, line.model), 12) for line in lines}


def _key_lines(names: Mapping[str, str]) -> list[list[tuple[float, str, str]]]:
    """The key broken into lines: place, role and name of each entry."""
    found: list[list[tuple[float, str, str]]] = [[]]
    x = 10.0
    for role, name in names.items():
        needed = 34 + LETTER * len(name)
        if x + needed > WIDTH and found[-1]:
            found.append([])
            x = 10.0
        found[-1].append((x, role, name))
        x += needed
    return found


def _write_key(sheet: Sheet, entries: Sequence[tuple[float, str, str]], y: float, figure: Figure) -> None:
    for x, role, name in entries:
        if figure.joined:
            sheet.rule(x, x + 18, y - 4, STROKES[role])
        else:
            sheet.mark(x + 12, y - 4, STROKES[role])
        sheet.write(x + 23, y, name, color=STROKES[role].colour, fontsize=SMALL)
