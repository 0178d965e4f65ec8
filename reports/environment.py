"""Templates: every string that enters one is escaped, and loses what could hide or reorder text."""

import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from auditor.reports import formats


@cache
def environment() -> Environment:
    """Made once; its loader finds the templates of this folder."""
    made = Environment(
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
    made.filters["breakable"] = _breakable
    made.filters["coded"] = _coded
    return made


def _breakable(name: str) -> Markup:
    """A name that may break after its underscores and slashes, escaped."""
    return Markup(re.sub("([_/])(?!$)", r"\1<wbr>", str(escape(formats.clean(name)))))


def _coded(words: str) -> Markup:
    """A sentence with what stands between backticks set as code, escaped."""
    parts = (str(escape(formats.clean(part))) for part in words.split("`"))
    return Markup("".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts)))


def _clean(value: object) -> object:
    """Strings of the results lose what could hide or reorder text; finished markup stays as it is."""
    return formats.clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
