"""Which columns of a check's rows make its lines, and the lines themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from auditor.records.base import Row
from auditor.records.figure import Figure
from auditor.reports import formats
from auditor.reports.figures import is_drawable
from auditor.reports.places import is_numbered, place

# A panel's title names several columns beside each other, in the width of one panel.
_SHORT = {"learning_rate": "rate"}


@dataclass(frozen=True, slots=True)
class Line:
    """One model's line.

    Attributes:
        model: its name.
        role: the part it plays.
        x: positions.
        y: values, as many.
    """

    model: str
    role: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines under one title."""

    title: str
    lines: tuple[Line, ...]


def counting(cells: Sequence[Row], figure: Figure, roles: Mapping[str, str]) -> list[Row]:
    """The rows that a figure draws.

    Args:
        cells: rows led by ``model``.
        figure: which columns, and how.
        roles: part played by each model; rows of other models are left out.
    """
    return [row for row in cells if _counts(row, figure, roles)]


def panels_of(
    rows: Sequence[Row], figure: Figure, roles: Mapping[str, str], layers: Sequence[str] = ()
) -> tuple[tuple[Panel, ...], tuple[str, ...]]:
    """Sort rows into panels and lines.

    Args:
        rows: those that count.
        figure: which columns, and how.
        roles: part played by each model.
        layers: of the audit, by which names of layers are put into words.

    Returns:
        The panels (none without rows), and the names along x (none where x is a number).
    """
    # Values of another column have no role of their own: one stands out as the unlearned model does, the others recede.
    if figure.lines != "model":
        found = (str(row[figure.lines]) for row in rows)
        roles = {name: "unlearned" if name == figure.main else "decoy" for name in found}
    ticks = _categories(rows, figure)
    return _panels(rows, figure, roles, ticks, layers), _placed(ticks, layers)


def _counts(row: Row, figure: Figure, roles: Mapping[str, str]) -> bool:
    x, y = row.get(figure.x), row.get(figure.y)
    wanted = all(row.get(column) in values for column, values in figure.where.items())
    named = row.get(figure.lines)
    known = str(named) in roles if figure.lines == "model" else named is not None
    # A stranger's rows may hold words, NaN or 1e300 where a number belongs; x may be a name.
    return wanted and x is not None and is_drawable(y) and known


def _categories(rows: Sequence[Row], figure: Figure) -> tuple[str, ...]:
    """Values of x in their order, where they are names or wanted at equal distances; else empty."""
    # Not sorted: the check lists layers as the network runs them, and steps as it took them.
    found = list(dict.fromkeys(row[figure.x] for row in rows))
    numeric = all(is_drawable(value) for value in found)
    if numeric and not figure.categories:
        return ()
    if numeric and figure.rises:
        found.sort(key=lambda value: float(value or 0))
    return tuple(_show(value) for value in found)


def _placed(ticks: Sequence[str], layers: Sequence[str]) -> tuple[str, ...]:
    """Names of layers in words; where all are blocks of one stack, their numbers alone, which fit side by side."""
    if ticks and all(tick in layers and is_numbered(tick) for tick in ticks):
        return tuple(str(layers.index(tick) + 1) for tick in ticks)
    return tuple(place(tick, layers) for tick in ticks)


def _panels(
    rows: Sequence[Row], figure: Figure, roles: Mapping[str, str], ticks: Sequence[str], layers: Sequence[str]
) -> tuple[Panel, ...]:
    at = {name: float(i) for i, name in enumerate(ticks)}
    panels: dict[str, dict[tuple[str, int], list[tuple[float, float]]]] = {}
    for row in rows:
        title = " · ".join(_word(c, row[c], layers) for c in figure.panels if row.get(c) is not None)
        lines = panels.setdefault(title, {})
        shown = _show(row[figure.x])
        point = (at[shown] if ticks else float(row[figure.x] or 0), float(row[figure.y] or 0))
        lines.setdefault(_free_line(lines, str(row[figure.lines]), point[0]), []).append(point)
    return tuple(
        Panel(title, tuple(_line(name, roles[name], points) for (name, _), points in lines.items()))
        for title, lines in panels.items()
    )


def _free_line(lines: Mapping[tuple[str, int], list[tuple[float, float]]], model: str, x: float) -> tuple[str, int]:
    """The model's line that this x continues; where x repeats, a new one."""
    number = sum(1 for name, _ in lines if name == model)
    current = (model, max(number - 1, 0))
    taken = any(x == point[0] for point in lines.get(current, ()))
    # One line through both values would jump up and down at the same place.
    return (model, number) if taken else current


def _line(model: str, role: str, points: Sequence[tuple[float, float]]) -> Line:
    ordered = sorted(points, key=lambda point: point[0])
    return Line(model, role, tuple(x for x, _ in ordered), tuple(y for _, y in ordered))


def _word(column: str, value: str | int | float | None, layers: Sequence[str]) -> str:
    shown = formats.shorten(place(_show(value), layers), 32)
    return shown if isinstance(value, str) else f"{_SHORT.get(column, column)} {shown}"


def _show(value: str | int | float | None) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
