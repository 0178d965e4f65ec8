"""Draws lines over a common axis, one per model, in one panel or several: most checks are drawn this way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from auditor.reports import text
from auditor.reports.curves import Curves, Line, Panel
from auditor.reports.figures import (
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

MOST_PANELS = 12
MOST_TICKS = 12
STACKED_PANELS = 3  # up to so many stand below each other; more stand in two columns
SMALLEST_RATE = 1e-4
# Where there is no line to follow, marks at the same place are set beside each other.
_ASIDE = {"original": -0.16, "reference": -0.04, "drawn": 0.02, "decoy": 0.1, "unlearned": 0.2}


def draw(panels: Sequence[Panel], ticks: Sequence[str], curves: Curves, anchor: str, title: str) -> Drawing:
    """Draw the panels of one figure.

    Args:
        panels: at least one, each with at least one line.
        ticks: names along x; empty where x is a number.
        curves: how the axes are meant.
        anchor: what the ids in the figure begin with.
        title: read out in place of the figure.
    """
    caption = curves.caption
    if len(panels) > MOST_PANELS:
        caption += f" The first {MOST_PANELS} of {len(panels)} panels are drawn; results.json has all."
    with settings():
        sheet = _draw_panels(panels[:MOST_PANELS], curves, ticks)
        words = (
            f"{curves.y_label} against {curves.x_label}; panels: {len(panels)}, "
            f"lines in the first: {len(panels[0].lines)}."
        )
        return Drawing(svg=sheet.svg(anchor, title, words), caption=caption)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """Boxes of the panels, in points."""

    columns: int
    rows: int
    head: float
    width: float
    height: float
    foot: float
    left: float = 46.0
    gap: float = 22.0
    title: float = 24.0

    @property
    def total(self) -> float:
        return self.head + self.rows * (self.title + self.height + self.foot) + 20

    def box(self, index: int) -> dict[str, float]:
        row, column = divmod(index, self.columns)
        return {
            "left": self.left + column * (self.width + self.left + self.gap),
            "top": self.head + row * (self.title + self.height + self.foot) + self.title,
            "width": self.width,
            "height": self.height,
        }


def _layout(n: int, ticks: Sequence[str], labelled: bool) -> _Layout:
    columns = 1 if n <= STACKED_PANELS else 2
    longest = max(map(len, ticks), default=1)
    foot = 24.0 if _fit(ticks, columns) else 26.0 + 4.2 * min(longest, 16)
    width = WIDTH - 46 - (126 if labelled else 8) if columns == 1 else (WIDTH - 2 * 46 - 22 - 8) / 2
    height = 120.0 if columns == 2 else 150.0 if n > 1 else 180.0
    rows = -(-n // columns)
    return _Layout(columns=columns, rows=rows, head=2 if labelled else 26, width=width, height=height, foot=foot)


def _fit(ticks: Sequence[str], columns: int) -> bool:
    """Whether the names fit below the axis without being turned."""
    return sum(len(tick) + 2 for tick in ticks) * 6.9 < (350 if columns == 1 else 195)


def _draw_panels(panels: Sequence[Panel], curves: Curves, ticks: Sequence[str]) -> Sheet:
    labelled = len(panels) <= STACKED_PANELS and curves.joined and not curves.logarithmic
    layout = _layout(len(panels), ticks, labelled)
    sheet = Sheet(layout.total)
    for i, panel in enumerate(panels):
        axes = sheet.axes(**layout.box(i))
        _scale(axes, panels, curves, ticks, upright=_fit(ticks, layout.columns))
        longest = 48 if layout.columns == 1 else 30
        axes.set_title(text.shorten(panel.title, longest), color=MUTED, fontsize=SMALL)
        for line in panel.lines:
            _plot(axes, line, curves)
        if labelled:
            _direct_labels(axes, panel.lines)
    if not labelled:
        _key(sheet, {line.role: line for panel in panels for line in panel.lines}, curves)
    right = layout.box(layout.columns - 1)["left"] + layout.width
    sheet.write(layout.left - 36, layout.total - 4, f"↑ {curves.y_label}", fontsize=SMALL)
    sheet.write(right, layout.total - 4, f"{curves.x_label} →", fontsize=SMALL, ha="right")
    return sheet


def _scale(axes: Axes, panels: Sequence[Panel], curves: Curves, ticks: Sequence[str], *, upright: bool) -> None:
    axes.grid(axis="y")
    if curves.logarithmic:
        _logarithmic(axes)
        return
    values = [y for panel in panels for line in panel.lines for y in line.y]
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    axes.set_ylim(low - pad, high + pad)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    if ticks:
        every = -(-len(ticks) // MOST_TICKS)
        shown = range(0, len(ticks), every)
        turn: dict[str, Any] = {} if upright else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(list(shown), [text.shorten(ticks[i], 16) for i in shown], **turn)
        axes.set_xlim(-0.4, len(ticks) - 0.6)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))


def _logarithmic(axes: Axes) -> None:
    axes.set_xscale("log", nonpositive="mask")
    axes.set_yscale("log", nonpositive="mask")
    axes.set_xlim(1e-3, 1)
    axes.set_ylim(1e-3, 1.15)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([1e-3, 1e-2, 1e-1, 1]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    axes.plot([SMALLEST_RATE, 1], [SMALLEST_RATE, 1], color=MUTED, linewidth=1, linestyle=":")


def _plot(axes: Axes, line: Line, curves: Curves) -> None:
    stroke = STROKES[line.role]
    dotted = not curves.joined or len(line.x) <= 8
    aside = 0.0 if curves.joined else _ASIDE[line.role]
    axes.plot(
        [x + aside for x in line.x],
        line.y,
        color=stroke.colour,
        linewidth=stroke.width,
        linestyle=stroke.dash if curves.joined else "none",
        marker=stroke.marker if dotted else "none",
        markersize=3.2 + 0.8 * stroke.width,
        markerfacecolor=stroke.colour if stroke.filled else PAPER,
        markeredgewidth=1,
        zorder=stroke.order,
    )


def _direct_labels(axes: Axes, lines: Sequence[Line]) -> None:
    ends = dict(_label_ends(axes, lines))
    box = axes.get_window_extent()
    heights = spread_apart([y for y, _ in ends.values()], 15.0, float(box.y0), float(box.y1))
    for (name, (_, role)), y in zip(ends.items(), heights, strict=True):
        weight = "bold" if role == "unlearned" else "normal"
        axes.text(box.x1 + 8, y, text.shorten(name, 17), color=STROKES[role].colour, fontsize=SMALL,
                  weight=weight, va="center", transform=None)  # fmt: skip


def _label_ends(axes: Axes, lines: Sequence[Line]) -> Iterator[tuple[str, tuple[float, str]]]:
    """Height in points at which each label would best stand; the references share one."""
    floor = SMALLEST_RATE if axes.get_yscale() == "log" else -np.inf
    references = []
    for line in lines:
        y = float(axes.transData.transform((line.x[-1], max(line.y[-1], floor)))[1])
        if line.role == "reference":
            references.append(y)
        else:
            yield line.model, (y, line.role)
    if references:
        yield "references", (sum(references) / len(references), "reference")


def _key(sheet: Sheet, examples: Mapping[str, Line], curves: Curves) -> None:
    others = "decoys" if curves.lines == "model" else "controls"
    names = {"reference": "references", "decoy": others, "drawn": "drawn only"}
    x = 10.0
    for role, line in examples.items():
        name = text.shorten(names.get(role, line.model), 12)
        if curves.joined:
            sheet.rule(x, x + 20, 12, STROKES[role])
        else:
            sheet.mark(x + 14, 12, STROKES[role])
        sheet.write(x + 25, 17, name, color=STROKES[role].colour, fontsize=SMALL)
        x += 42 + 6.8 * len(name)
