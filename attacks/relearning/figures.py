"""How the rows of this check are drawn."""

from auditor.attacks.relearning.budget_figure import BUDGET
from auditor.records.figure import Figure

IMAGES = (
    Figure(
        x="step",
        y="value",
        panels=("arm", "attack"),
        where={"arm": ("as is", "row reset")},
        x_label="training steps",
        y_label="probability of the true label",
        caption=(
            "How fast the forgotten examples come back while a copy is trained on a few of them: hidden knowledge "
            "returns faster than in the references. “as is” attacks the model as it stands; “row reset” first "
            "clears the forgotten class’s weights in the last layer. The score takes the better of the two, over all "
            "attacks, which this audit’s seed drew."
        ),
    ),
    BUDGET,
    Figure(
        x="step",
        y="value",
        panels=("arm",),
        rest=True,
        aside="Retain examples alone, and control classes",
        x_label="training steps",
        y_label="probability of the true label",
        caption=(
            "Drawn, not counted. Trained on retain examples alone, what comes back needs no forget example. A control "
            "class was never to be forgotten: its curve shows how fast each model learns anything at all."
        ),
    ),
)

TEXT = (
    Figure(
        x="step",
        y="value",
        panels=("attack",),
        where={"arm": ("same subjects",)},
        x_label="training steps",
        y_label="answer probability",
        caption=(
            "How much of one half of the forget facts comes back while a copy is trained on the other half, facts "
            "about the same subjects. Hidden knowledge returns; a model that never had it learns only the half "
            "it is shown. The score is the mean over the later part of every panel."
        ),
    ),
    BUDGET,
    Figure(
        x="step",
        y="value",
        panels=("arm",),
        rest=True,
        aside="Other attacks, and facts never taught",
        x_label="training steps",
        y_label="answer probability",
        caption=(
            "Drawn, not counted: beside an attack on all weights one through a low-rank change; trained on facts about "
            "other forgotten subjects; on retain facts alone; and on facts no model was taught, which shows what the "
            "attack itself teaches."
        ),
    ),
)

CUSTOM = (
    IMAGES[0].model_copy(
        update={
            "panels": ("attack",),
            "where": {},
            "y_label": "nearness to the original",
            "caption": (
                "How fast the forgotten examples come back while a copy is trained on a few of them: hidden knowledge "
                "returns faster than in the references. The score is the mean over all attacks, which this "
                "audit’s seed drew. 1 is the original, about 0 a reference before any attack; with fewer than two "
                "references it is the given score itself."
            ),
        }
    ),
    BUDGET,
)
