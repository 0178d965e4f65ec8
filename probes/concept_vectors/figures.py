"""How the rows of this check are drawn."""

from auditor.records.figure import Figure

IMAGES = (
    Figure(
        x="layer",
        y="projection",
        where={"part": ("direction",)},
        categories=True,
        x_label="layer, from input to output",
        y_label="position",
        caption="Where forget inputs lie on the way from retain (0) to the original’s class (1).",
    ),
    Figure(
        x="unit",
        y="cosine",
        panels=("layer",),
        where={"part": ("value vector",)},
        categories=True,
        joined=False,
        x_label="unit of the original",
        y_label="cosine",
        caption="Value vectors that carry what is to be forgotten in the original: how far each has turned.",
    ),
)

TEXT = (
    Figure(
        x="unit",
        y="cosine",
        panels=("layer",),
        where={"part": ("value vector",)},
        categories=True,
        joined=False,
        x_label="unit of the original",
        y_label="cosine",
        caption=(
            "Value vectors that speak most for the forget facts in the original: how far each has turned (1 "
            "unchanged, 0 unrelated)."
        ),
    ),
)
