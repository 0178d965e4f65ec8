"""Which figure each check of a language model has."""

from collections.abc import Mapping

from auditor.reports.budget_figure import BUDGET_CURVES
from auditor.reports.curves import Curves

_RELEARNING = (
    Curves(
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
    BUDGET_CURVES,
    Curves(
        x="step",
        y="value",
        panels=("arm",),
        rest=True,
        aside="Other attacks, and facts never taught",
        x_label="training steps",
        y_label="answer probability",
        caption=(
            "Drawn, not counted: the same through a low-rank change; trained on facts about other forgotten "
            "subjects; on retain facts alone; and on facts no model was taught, which shows what it teaches."
        ),
    ),
)

FACT_CURVES: Mapping[str, tuple[Curves, ...]] = {
    "outputs": (
        Curves(
            x="split",
            y="probability",
            where={"split": ("forget_attack", "forget_eval", "retain", "retain_test", "holdout", "control")},
            categories=True,
            joined=False,
            x_label="facts",
            y_label="answer probability",
            caption="How probable the answers are on each set. Forgotten ones lie with the references on both halves.",
        ),
    ),
    "relearning": _RELEARNING,
    "slow_relearning": _RELEARNING,
    "depth": (
        Curves(
            x="layer",
            y="value",
            categories=True,
            x_label="block that was replaced",
            y_label="answer probability",
            caption=(
                "Whether the original still gives the answers when one block’s states come from the other model. The "
                "least erased block decides."
            ),
        ),
    ),
}
