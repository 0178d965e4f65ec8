"""How the rows of this check are drawn."""

from auditor.records.figure import Figure

IMAGES = (
    Figure(
        x="layer",
        y="margin",
        panels=("split",),
        where={"split": ("forget_eval", "retain")},
        categories=True,
        x_label="layer that was replaced",
        y_label="logit margin (nats)",
        caption="How surely the original names the true class when one layer comes from the other model.",
    ),
    Figure(
        x="layer",
        y="erased",
        categories=True,
        x_label="layer that was replaced",
        y_label="share erased",
        caption="Unlearning depth: 1 is as erased as in the mean reference, layer by layer.",
    ),
)

TEXT = (
    Figure(
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
)
