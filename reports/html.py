"""Writes the report: one HTML file, without script and without anything fetched."""

import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from auditor.errors import DataError
from auditor.records.results import Results
from auditor.reports import check_figures, document, text
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
    return _environment().get_template("report.html").render(page=page, drawings=_drawings(page))


def snippet(results: Results) -> str:
    """Badge, sentence and axis as a piece of HTML with a style of its own, for a notebook's cell."""
    first = document.first_screen(Results.model_validate_json(results.to_json()))
    return _environment().get_template("snippet.html").render(top=first)


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


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("auditor.reports"),
        # Names, reasons and units come from files that a stranger may have written.
        autoescape=True,
        # A misspelt field is an error, not a blank in a report that looks complete.
        undefined=StrictUndefined,
        # Every value passes it, so that no place of the template can forget to.
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["breakable"] = _breakable
    environment.filters["coded"] = _coded
    environment.filters["sentence"] = text.sentence_case
    return environment


def _breakable(name: str) -> Markup:
    """A name that may break after its underscores and slashes, escaped."""
    return Markup(re.sub("([_/])(?!$)", r"\1<wbr>", str(escape(text.clean(name)))))


def _coded(words: str) -> Markup:
    """A sentence with what stands between backticks set as code, escaped."""
    parts = (str(escape(text.clean(part))) for part in words.split("`"))
    return Markup("".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts)))


def _clean(value: object) -> object:
    """Strings of the results lose what could hide or reorder text; finished markup stays as it is."""
    return text.clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
