"""Writes the report: one HTML file, without script and without anything fetched."""

from auditor.errors import DataError
from auditor.records.results import Results
from auditor.reports import check_figures, document
from auditor.reports.environment import environment
from auditor.reports.figures import Drawing

LEFT_OUT = Drawing(svgs=(), caption="This figure was left out to keep the page small; results.json has its rows.")
# What a stranger's numbers may do to functions that were written for an audit's own.
BROKEN_ASSUMPTIONS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, AssertionError)
MOST_FIGURE_BYTES = 1_200_000  # of a page that must stay below two million


def render(results: Results) -> str:
    """The report as HTML, drawn from ``results`` alone: the same bytes on every machine.

    Every string in it is escaped, with control and bidirectional characters stripped.
    """
    # The file sorts its keys: drawn from anything but what the file says, the same audit would give two pages.
    page = document.build(Results.model_validate_json(results.to_json()))
    return environment().get_template("report.html").render(page=page, drawings=_drawings(page))


def snippet(results: Results) -> str:
    """Badge, sentence and axis as a piece of HTML with a style of its own, for a notebook's cell."""
    first = document.first_screen(Results.model_validate_json(results.to_json()))
    return environment().get_template("snippet.html").render(top=first)


def draw(results: Results) -> str:
    """The report of results that someone else wrote: they fit the schema, and may fit nothing else.

    Raises:
        DataError: they hold what no report can be drawn from.
    """
    try:
        # Only for a stranger's results: in an audit of one's own such an error is a bug, and has to surface as one.
        return render(results)
    except BROKEN_ASSUMPTIONS as error:
        words = f"{type(error).__name__}: {error}"
        raise DataError(f"the results hold what no report can be drawn from ({words}); ask for the original") from error


def _drawings(page: document.Document) -> dict[str, list[Drawing]]:
    """The figures of each check; those beyond what the page can hold are left out, and said to be."""
    drawn: dict[str, list[Drawing]] = {}
    # Sections stand with the primaries first, so that their figures are the last to be left out.
    size = 0
    for section in page.checks:
        found = check_figures.draw(section.evidence, section.anchor, page.layers)
        size += sum(len(svg.encode()) for drawing in found for svg in drawing.svgs)
        drawn[section.anchor] = found if size <= MOST_FIGURE_BYTES else [LEFT_OUT] if found else []
    return drawn
