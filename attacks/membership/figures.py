"""How the rows of this check are drawn."""

from auditor.records.figure import Figure

IMAGES = (
    Figure(
        x="fpr",
        y="tpr",
        panels=("attack",),
        scale="rates",
        x_label="false positive rate, logarithmic",
        y_label="true positive rate",
        caption=(
            "How well three attacks tell forget examples from holdout examples, which no model was trained on: the "
            "share of forget examples found against the share of holdout examples mistaken for them. The dotted "
            "line is guessing."
        ),
    ),
)

TEXT = (
    IMAGES[0].model_copy(
        update={
            "caption": (
                "How well token statistics tell forget facts from holdout facts, which no model was taught: the share"
                " of forget facts found against the share of holdout facts mistaken for them. The dotted line is "
                "guessing."
            )
        }
    ),
)

CUSTOM = (
    IMAGES[0].model_copy(
        update={
            "caption": (
                "How well the score tells forget examples from holdout examples, which no model was trained on: the "
                "share of forget examples found against the share of holdout examples mistaken for them. The dotted "
                "line is guessing."
            )
        }
    ),
)
