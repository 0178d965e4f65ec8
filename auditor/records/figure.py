"""How the rows of a check are drawn; declared by the check, and written down with its evidence."""

from typing import Literal

from pydantic import Field

from auditor.records.base import Frozen


class Figure(Frozen):
    """Lines over a common axis: one line for each model, one panel for each value of ``panels``.

    With ``lines`` set to another column than the model, its values are compared within one model instead: ``main`` is
    drawn as the unlearned model is, the others as controls.
    """

    x: str = Field(description="column of the horizontal axis")
    y: str = Field(description="column of the vertical axis")
    panels: tuple[str, ...] = Field(default=(), description="columns whose values split the figure into panels")
    where: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="rows that count, as values that a column may have"
    )
    rest: bool = Field(default=False, description="whether only rows count that no figure before has drawn")
    aside: str = Field(default="", description="words under which the page folds the figure away; empty: stands open")
    lines: str = Field(default="model", description="column with one line for each value")
    main: str = Field(default="", description="the value of ``lines`` to stand out, where that is not the model")
    # No defaults: a figure without axes named or without a caption cannot be read on its own.
    x_label: str = Field(description="with unit")
    y_label: str = Field(description="with unit")
    caption: str = Field(description="what to look for, in whole sentences")
    categories: bool = Field(
        default=False, description="whether x is a list of names or steps, drawn at equal distances"
    )
    scale: Literal["linear", "rates", "sizes"] = Field(
        default="linear", description="rates: both axes logarithmic; sizes: may be 0 and span powers of ten"
    )
    joined: bool = Field(default=True, description="whether neighbours on x are joined by a line")
    rises: bool = Field(default=False, description="whether x is sorted by number; otherwise the rows' order stands")
