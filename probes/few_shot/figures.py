"""How the rows of this check are drawn."""

from auditor.records.figure import Figure

IMAGES = (
    Figure(
        x="shots",
        y="value",
        panels=("layer",),
        where={"probe": ("centre",)},
        categories=True,
        rises=True,
        x_label="forget examples given to the probe",
        y_label="AUC against retain",
        caption=(
            "One panel for each layer read, by the probe that the score uses: how surely it ranks forgotten "
            "examples above retained ones (1 always, 0.5 by chance). The score is taken at a single example; given "
            "many, the probe learns the class from any model."
        ),
    ),
    Figure(
        x="shots",
        y="value",
        panels=("layer", "probe"),
        rest=True,
        aside="The same by other probes",
        categories=True,
        rises=True,
        x_label="forget examples given",
        y_label="AUC against retain",
        caption="Drawn, not counted: a linear probe, and the nearest of the given examples (k-NN).",
    ),
)

TEXT = (
    Figure(
        x="layer",
        y="value",
        panels=("split",),
        categories=True,
        x_label="block that is read",
        y_label="share outscored (0.5 by chance)",
        caption=(
            "How often a probe that was taught on other facts ranks the true answer above a false one, read "
            "at each block. The score is taken at the best block; holdout facts, which no model was taught, "
            "show what can be guessed."
        ),
    ),
)
