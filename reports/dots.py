"""The score of every model as dots, for a check that declares no figure of its own."""

from collections.abc import Iterator

from auditor.records.evidence import ModelScores
from auditor.reports import formats
from auditor.reports.figures import PAPER, STROKES, WIDTH, Drawing, Sheet, is_drawable, settings

MOST_ROWS = 40  # a stranger's file may list any number of models


def dots(scores: ModelScores, unit: str, anchor: str, check: str) -> Drawing:
    """The score of every model on one axis, for a check without a figure of its own."""
    rows = [row for row in _dot_rows(scores) if row[2]]
    with settings():
        # 20 points a row; 34 for the axis.
        sheet = Sheet(20.0 * len(rows) + 34)
        axes = sheet.axes(left=140, top=8, width=WIDTH - 156, height=20.0 * len(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        for y, (name, role, values) in enumerate(rows):
            stroke = STROKES[role]
            face = stroke.colour if stroke.filled else PAPER
            axes.plot(values, [y] * len(values), stroke.marker, color=stroke.colour, markerfacecolor=face,
                      markersize=7, linestyle="none", zorder=3)  # fmt: skip
            axes.text(-0.03, y, formats.shorten(name, 19), color=stroke.colour, ha="right", va="center",
                      transform=axes.get_yaxis_transform())  # fmt: skip
        axes.margins(x=0.08)
        axes.grid(axis="x")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        words = "; ".join(f"{name}: {', '.join(formats.number(v) for v in values)}" for name, _, values in rows)
        svg = sheet.svg(anchor, f"Score of every model, {formats.shorten(check, 60)}", words)
    caption = "The score of every model; this is the number that ρ is made from."
    return Drawing(svgs=(svg,), caption=caption, across=formats.shorten(unit, 120))


def _dot_rows(scores: ModelScores) -> Iterator[tuple[str, str, list[float]]]:
    rows = [("original", "original", [scores.original]), ("unlearned", "unlearned", [scores.unlearned])]
    # In one row, since their scatter is what the other scores are held against.
    rows.append(("references", "reference", list(scores.references.values())))
    for role, found in (("drawn", scores.drawn), ("decoy", scores.decoys)):
        rows += [(name, role, [value]) for name, value in found.items()]
    for name, role, values in rows[:MOST_ROWS]:
        yield name, role, [value for value in values if is_drawable(value)]
