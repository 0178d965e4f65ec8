"""A road to a verdict: what the unlearned model is held against, and what that would bring."""

from typing import Literal

from pydantic import Field

from auditor.records.base import Frozen

NO_REFERENCE = "one reference trained by the original's recipe has to show that they are (`audit reference --count 1`)"


class Road(Frozen):
    """One road and its prospects, known before the unlearned model is scored."""

    null: Literal["holdout", "references"] = Field(description="what the unlearned model is held against")
    models: int = Field(
        ge=0, description="beside the pair: on the road of the holdout models that saw neither side, else references"
    )
    basis: Literal["measured", "assumed"] = Field(
        description="whether the gap was measured on the original, or is an assumption"
    )
    gap: float | None = Field(
        default=None,
        description="assumed: how far the original stands above, in units of the spread between subjects, or between "
        "references",
    )
    resolutions: dict[str, float] = Field(
        default_factory=dict,
        description="measured: w of each family's finest candidate for a primary, in units of ρ",
    )
    resolution: float | None = Field(
        description="the coarsest of them, or that of the assumed gap; None where some family has no gap"
    )
    pass_probability: float = Field(
        ge=0, le=1, description="how likely a true deletion is to pass the primaries' limits and tests"
    )
    subjects_needed: int | None = Field(
        default=None, description="assumed, holdout: subjects on either side that resolve what clearing asks for"
    )
