"""One page for several candidates of one original, which links the report of each."""

from collections.abc import Sequence
from urllib.parse import quote

from auditor.records.ranking import Candidate, Ranking
from auditor.reports import formats
from auditor.reports.environment import environment
from auditor.reports.steps import over_steps
from auditor.reports.tables import Row, Table


def render_overview(ranking: Ranking) -> str:
    """The ranking as HTML: the same bytes on every machine, no script, every string escaped."""
    return (
        environment()
        .get_template("overview.html")
        .render(
            ranking=ranking,
            links={c.name: f"{quote(c.folder)}/report.html" for c in ranking.candidates if c.folder is not None},
            cells={c.name: cells(c) for c in ranking.candidates},
            rho=_rho(ranking),
            figures=over_steps(ranking),
        )
    )


def cells(c: Candidate) -> tuple[str, str, str]:
    """Outcome with its flags, bound, and utility of one candidate, as every table has them."""
    if c.outcome is None:
        return ("could not be audited", "–", "–")
    flags = f" [{', '.join(c.flags)}]" if c.flags else ""
    missing = "" if c.complete else ", incomplete"
    bound = "–" if c.bound is None else f"at most {formats.upper_percent(c.bound)}"
    return (f"{c.outcome}{flags}{missing}", bound, formats.share(c.utility))


def _rho(ranking: Ranking) -> Table | None:
    """ρ of every check, candidates side by side; None where no check has any."""
    if not ranking.checks:
        return None
    names = [c.name for c in ranking.candidates if c.outcome is not None]
    return Table(
        caption="ρ of every check with its limits: 0 is a model that never saw the forget set, 1 the original",
        columns=("check", *names),
        rows=tuple(_check(check, ranking.candidates) for check in ranking.checks),
    )


def _check(check: str, candidates: Sequence[Candidate]) -> Row:
    return Row(cells=(check, *(formats.rho(c.rho.get(check)) for c in candidates if c.outcome is not None)))
