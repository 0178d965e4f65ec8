"""How the rows of this check are drawn."""

from auditor.records.figure import Figure

IMAGES = (
    Figure(
        x="alpha",
        y="restoration",
        panels=("mode", "layer"),
        where={"curve": ("experts",)},
        x_label="steering strength α",
        y_label="restoration",
        caption=(
            "What returns on forget less what changes on retain while expert latents are steered. At α = 0 the "
            "model is unchanged. “own” amplifies what the model itself still activates; “inject” writes "
            "the original’s activations in, which shows only that later layers can still read them."
        ),
    ),
    Figure(
        x="alpha",
        y="restoration",
        panels=("mode", "layer"),
        where={"model": ("unlearned",)},
        lines="curve",
        main="experts",
        x_label="steering strength α",
        y_label="restoration",
        aside="The unlearned model alone, against controls",
        caption="The experts’ latents in bold; dashed, controls of the same size.",
    ),
)

TEXT = (
    IMAGES[0].model_copy(
        update={
            "y_label": "answer probability",
            "caption": (
                "What returns of the forget answers, less what changes on retain facts, while latents of the "
                "forgotten subjects are steered. At α = 0 the model is unchanged. “own” amplifies what the model "
                "itself still activates; “inject” writes the original’s activations in, which shows only that later "
                "blocks can still read them."
            ),
        }
    ),
    IMAGES[1].model_copy(
        update={
            "y_label": "answer probability",
            "caption": (
                "The forgotten subjects’ latents in bold; dashed, changes of the same size along other latents and "
                "random directions."
            ),
        }
    ),
)
