"""Which figure each check has; one that is not listed here gets the dot plot."""

from collections.abc import Mapping

from auditor.reports import forest, panels, text
from auditor.reports.curves import Curves, panels_of
from auditor.reports.figures import Drawing
from auditor.scores import Evidence

CURVES: Mapping[str, tuple[Curves, ...]] = {
    "outputs": (
        Curves(
            x="split",
            y="accuracy",
            categories=True,
            joined=False,
            x_label="examples",
            y_label="accuracy",
            caption="Accuracy on each set. Forgotten outputs lie with the references on the forget set.",
        ),
    ),
    "relearning": (
        Curves(
            x="step",
            y="value",
            panels=("arm", "learning_rate"),
            x_label="training steps",
            y_label="true label, probability",
            caption=(
                "Relearning curves. Hidden knowledge returns faster than in the references. A control class "
                "shows how fast each model learns anything at all."
            ),
        ),
    ),
    "membership": (
        Curves(
            x="fpr",
            y="tpr",
            panels=("attack",),
            logarithmic=True,
            x_label="false positive rate (logarithmic)",
            y_label="true positive rate",
            caption="Telling forget examples from holdout examples. The dotted line is guessing.",
        ),
    ),
    "feature_membership": (
        Curves(
            x="layer",
            y="value",
            categories=True,
            x_label="layer, from input to output",
            y_label="margin, forget less holdout",
            caption="How much nearer forget examples lie to their label’s centre than examples never trained on.",
        ),
    ),
    "few_shot": (
        Curves(
            x="shots",
            y="value",
            panels=("layer", "probe"),
            categories=True,
            rises=True,
            x_label="forget examples given to the probe",
            y_label="AUC against retain",
            caption="What a probe reads from few examples; given many, it learns the class from any model.",
        ),
    ),
    "sae_restoration": (
        Curves(
            x="alpha",
            y="restoration",
            panels=("mode", "layer"),
            where={"curve": ("experts",)},
            x_label="steering strength α",
            y_label="restoration",
            caption=(
                "Hits on forget minus hits on retain while the class’s latents are steered. At α = 0 the "
                "model is unchanged. “own” amplifies what the model itself still activates; “inject” writes "
                "the original’s activations in, which shows only that later layers can still read them."
            ),
        ),
        Curves(
            x="alpha",
            y="restoration",
            panels=("mode", "layer"),
            where={"model": ("unlearned",)},
            lines="curve",
            main="experts",
            x_label="steering strength α",
            y_label="restoration",
            caption="The unlearned model alone: the class’s latents against controls of the same size.",
        ),
    ),
    "concept_vectors": (
        Curves(
            x="layer",
            y="projection",
            where={"part": ("direction",)},
            categories=True,
            x_label="layer, from input to output",
            y_label="position",
            caption="Where forget inputs lie on the way from retain (0) to the original’s class (1).",
        ),
        Curves(
            x="unit",
            y="cosine",
            panels=("layer",),
            where={"part": ("value vector",)},
            categories=True,
            joined=False,
            x_label="unit of the original",
            y_label="cosine",
            caption="Value vectors that carry the class in the original: how far each has turned.",
        ),
    ),
    "depth": (
        Curves(
            x="layer",
            y="margin",
            panels=("split",),
            where={"split": ("forget_eval", "retain")},
            categories=True,
            x_label="layer that was replaced",
            y_label="logit margin (nats)",
            caption="How surely the original names the true class when one layer comes from the other model.",
        ),
        Curves(
            x="layer",
            y="erased",
            categories=True,
            x_label="layer that was replaced",
            y_label="share erased",
            caption="Unlearning depth: 1 is as erased as in the mean reference, layer by layer.",
        ),
    ),
    "cka": (
        Curves(
            x="layer",
            y="cka",
            panels=("split",),
            categories=True,
            x_label="layer, from input to output",
            y_label="CKA to the original",
            caption="Similarity to the original. It informs only: similar is not the same as knowing.",
        ),
    ),
    "quantization": (
        Curves(
            x="bits",
            y="probability",
            panels=("split",),
            where={"split": ("forget_eval", "retain")},
            categories=True,
            x_label="bits per weight",
            y_label="probability of the true class",
            caption="What returns when the weights are rounded.",
        ),
    ),
    "weight_delta": (
        Curves(
            x="tensor",
            y="relative_change",
            categories=True,
            joined=False,
            x_label="weight tensor, from input to output",
            y_label="change / size",
            caption="How far each weight tensor lies from the original’s, relative to its size.",
        ),
    ),
}


def draw(evidence: Evidence, anchor: str) -> list[Drawing]:
    """The check's own figures where its cells allow any, else the dot plot, else none (no scores)."""
    if evidence.scores is None:
        return []
    title = f"Figure of the check {text.shorten(evidence.check, 60)}"
    drawn = []
    for i, how in enumerate(CURVES.get(evidence.check, ())):
        found, ticks = panels_of(evidence.cells, how, roles_of(evidence))
        if found:
            drawn.append(panels.draw(found, ticks, how, f"{anchor}-{i}", title))
    return drawn or [forest.dots(evidence.scores, evidence.unit, anchor, evidence.check)]


def roles_of(evidence: Evidence) -> dict[str, str]:
    """Which part each model of this evidence plays."""
    roles: dict[str, str] = {}
    if evidence.scores is not None:
        roles |= dict.fromkeys(evidence.scores.references, "reference")
        roles |= dict.fromkeys(evidence.scores.drawn, "drawn")
        roles |= dict.fromkeys(evidence.scores.decoys, "decoy")
    return {**roles, "original": "original", "unlearned": "unlearned"}
