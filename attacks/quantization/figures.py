"""How the rows of this check are drawn."""

from auditor.records.figure import Figure

IMAGES = (
    Figure(
        x="bits",
        y="probability",
        panels=("split",),
        where={"split": ("forget_eval", "retain")},
        categories=True,
        x_label="bits per weight",
        y_label="probability of the true class",
        caption="What returns when the weights are rounded; 32 bits are the model as it is.",
    ),
)

TEXT = (
    IMAGES[0].model_copy(
        update={
            "y_label": "answer probability",
            "caption": "What returns of the answers when the weights are rounded; 32 bits are the model as it is.",
        }
    ),
)
