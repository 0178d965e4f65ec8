"""Where an idea comes from."""

from pydantic import Field

from auditor.records.base import Frozen


class Source(Frozen):
    """A paper, and what of it stands in a check."""

    paper: str = Field(description="arXiv and its number, or authors and year")
    here: str = Field(description="what was made of it, as the end of a sentence")
    part: bool = Field(default=False, description="whether it is one form or reading among several of the check")
