"""Which columns of a check's cells make its lines, and the lines themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from auditor.records.base import Row
from auditor.reports import text
from auditor.reports.figures import is_drawable

_SHORT = {"learning_rate": "rate"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """How the cells of one check are drawn: one line per model, one panel per value of ``panels``.

    With ``lines`` set to another column than the model, its values are compared within one model instead:
    ``main`` is drawn as the unlearned model is, the others as controls.

    Attributes:
        x: column of the horizontal axis.
        y: column of the vertical axis.
        panels: columns whose values split the figure into panels.
        where: rows that count, as values that a column may have.
        setting: columns that have to equal a setting of the check, by the setting's name; one the plan does not
            hold narrows nothing.
        rest: whether only rows count that no curves before these have drawn.
        aside: under which words the page folds the figure away; empty where it stands open.
        lines: column with one line for each value.
        main: the value of ``lines`` to stand out, where that is not the model.
        x_label: with unit.
        y_label: with unit.
        caption: what to look for.
        categories: whether x is a list of names or steps, drawn at equal distances.
        scale: linear; both axes logarithmic, for rates; or sizes that may be 0 and span powers of ten.
        joined: whether neighbours on x may be joined by a line.
        rises: whether x is sorted by number; otherwise the cells' order stands.
    """

    x: str
    y: str
    panels: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    setting: Mapping[str, str] = field(default_factory=dict)
    rest: bool = False
    aside: str = ""
    lines: str = "model"
    main: str = ""
    x_label: str
    y_label: str
    caption: str
    categories: bool = False
    scale: Literal["linear", "rates", "sizes"] = "linear"
    joined: bool = True
    rises: bool = False


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


def counting(
    cells: Sequence[Row], curves: Curves, roles: Mapping[str, str], settings: Mapping[str, object]
) -> list[Row]:
    """The rows that these curves draw.

    Args:
        cells: rows led by ``model``.
        curves: which columns, and how.
        roles: part played by each model; rows of other models are left out.
        settings: of the check, as planned.
    """
    wanted = {column: settings[name] for column, name in curves.setting.items() if name in settings}
    return [
        row
        for row in cells
        if _counts(row, curves, roles) and all(row.get(column) == value for column, value in wanted.items())
    ]


def panels_of(
    rows: Sequence[Row], curves: Curves, roles: Mapping[str, str]
) -> tuple[tuple[Panel, ...], tuple[str, ...]]:
    """Sort rows into panels and lines.

    Args:
        rows: those that count.
        curves: which columns, and how.
        roles: part played by each model.

    Returns:
        The panels (none without rows), and the names along x (none where x is a number).
    """
    if curves.lines != "model":
        found = (str(row[curves.lines]) for row in rows)
        roles = {name: "unlearned" if name == curves.main else "decoy" for name in found}
    ticks = _categories(rows, curves)
    return _panels(rows, curves, roles, ticks), ticks


def _counts(row: Row, curves: Curves, roles: Mapping[str, str]) -> bool:
    x, y = row.get(curves.x), row.get(curves.y)
    wanted = all(row.get(column) in values for column, values in curves.where.items())
    named = row.get(curves.lines)
    known = str(named) in roles if curves.lines == "model" else named is not None
    return wanted and x is not None and is_drawable(y) and known


def _categories(rows: Sequence[Row], curves: Curves) -> tuple[str, ...]:
    """Values of x in their order, where they are names or wanted at equal distances; else empty."""
    found = list(dict.fromkeys(row[curves.x] for row in rows))
    numeric = all(is_drawable(value) for value in found)
    if numeric and not curves.categories:
        return ()
    if numeric and curves.rises:
        found.sort(key=lambda value: float(value or 0))
    return tuple(_show(value) for value in found)


def _panels(rows: Sequence[Row], curves: Curves, roles: Mapping[str, str], ticks: Sequence[str]) -> tuple[Panel, ...]:
    at = {name: float(i) for i, name in enumerate(ticks)}
    panels: dict[str, dict[tuple[str, int], list[tuple[float, float]]]] = {}
    for row in rows:
        title = " · ".join(_word(c, row[c]) for c in curves.panels if row.get(c) is not None)
        lines = panels.setdefault(title, {})
        shown = _show(row[curves.x])
        point = (at[shown] if ticks else float(row[curves.x] or 0), float(row[curves.y] or 0))
        lines.setdefault(_free_line(lines, str(row[curves.lines]), point[0]), []).append(point)
    return tuple(
        Panel(title, tuple(_line(name, roles[name], points) for (name, _), points in lines.items()))
        for title, lines in panels.items()
    )


def _free_line(lines: Mapping[tuple[str, int], list[tuple[float, float]]], model: str, x: float) -> tuple[str, int]:
    """The model's line that this x continues; where x repeats, a new one."""
    number = sum(1 for name, _ in lines if name == model)
    current = (model, max(number - 1, 0))
    taken = any(x == point[0] for point in lines.get(current, ()))
    return (model, number) if taken else current


def _line(model: str, role: str, points: Sequence[tuple[float, float]]) -> Line:
    ordered = sorted(points, key=lambda point: point[0])
    return Line(model, role, tuple(x for x, _ in ordered), tuple(y for _, y in ordered))


def _word(column: str, value: str | int | float | None) -> str:
    shown = text.shorten(_show(value), 24)
    return shown if isinstance(value, str) else f"{_SHORT.get(column, column)} {shown}"


def _show(value: str | int | float | None) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
