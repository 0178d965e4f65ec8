"""What changes over the steps of one run: ρ of every check with its limits, and the retain accuracy."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from auditor.records.figure import Figure
from auditor.records.ranking import Candidate, Ranking
from auditor.reports import panels
from auditor.reports.curves import Line, Panel
from auditor.reports.figures import Drawing

# Limits without end, or of a check with hardly any resolution, would flatten every line.
_LOW, _HIGH = -0.5, 1.5
_RHO = Figure(
    x="step",
    y="rho",
    x_label="step",
    y_label="ρ",
    caption="ρ of every check over the steps: 0 is a model that never saw the forget set, 1 the original. "
    "What lies beyond −0.5 or 1.5 is drawn there.",
)
_KEY = {"unlearned": "ρ", "drawn": "its limits, each with 95 % confidence"}
_UTILITY = Figure(
    x="step", y="utility", x_label="step", y_label="retain accuracy", caption="Retain accuracy over the steps."
)


def over_steps(ranking: Ranking) -> tuple[Drawing, ...]:
    """The figures of a sweep; none of another ranking, and none for what was not measured."""
    at = {c.step: c for c in ranking.candidates if c.step is not None}
    courses = [Panel(check, tuple(_rho(check, at))) for check in ranking.checks]
    utility = _line("retain accuracy", "unlearned", [(step, c.utility) for step, c in at.items()])
    return (
        *_drawn([panel for panel in courses if panel.lines], _RHO, _KEY),
        *_drawn([Panel("", (utility,))] if utility.x else [], _UTILITY, {}),
    )


def _drawn(found: Sequence[Panel], figure: Figure, key: dict[str, str]) -> Iterator[Drawing]:
    if found:
        yield replace(panels.draw(found, (), figure, figure.y, f"{figure.y_label} over the steps of a run"), key=key)


def _rho(check: str, at: dict[int, Candidate]) -> Iterator[Line]:
    known = [(step, rho) for step, c in at.items() if (rho := c.rho.get(check)) is not None]
    if known:
        yield _line("low", "drawn", [(step, rho.low) for step, rho in known])
        yield _line("high", "drawn", [(step, rho.high) for step, rho in known])
        yield _line("ρ", "unlearned", [(step, rho.value) for step, rho in known])


def _line(name: str, role: str, points: Sequence[tuple[int, float | None]]) -> Line:
    known = [(float(step), min(max(y, _LOW), _HIGH)) for step, y in points if y is not None]
    return Line(name, role, tuple(x for x, _ in known), tuple(y for _, y in known))
