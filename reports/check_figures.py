"""Which figure each check has; one that is not listed here gets the dot plot."""

from collections.abc import Mapping
from dataclasses import replace

from auditor.records.base import Row
from auditor.records.evidence import Evidence
from auditor.reports import forest, panels, text
from auditor.reports.budget_figure import BUDGET_CURVES
from auditor.reports.curves import Curves, counting, panels_of
from auditor.reports.fact_figures import FACT_CURVES
from auditor.reports.figures import Drawing

_RELEARNING = (
    Curves(
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
    BUDGET_CURVES,
    Curves(
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

CURVES: Mapping[str, tuple[Curves, ...]] = {
    "outputs": (
        Curves(
            x="split",
            y="accuracy",
            categories=True,
            joined=False,
            x_label="examples",
            y_label="accuracy",
            caption="Right answers on each set. Forgotten outputs lie with the references on the two forget halves.",
        ),
    ),
    "relearning": _RELEARNING,
    "slow_relearning": _RELEARNING,
    "membership": (
        Curves(
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
        Curves(
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
                "What returns on forget less what changes on retain while expert latents are steered. At α = 0 the "
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
            aside="The unlearned model alone, against controls",
            caption="The experts’ latents in bold; dashed, controls of the same size.",
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
            caption="Value vectors that carry what is to be forgotten in the original: how far each has turned.",
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
            caption="What returns when the weights are rounded; 32 bits are the model as it is.",
        ),
    ),
    "weight_delta": (
        Curves(
            x="tensor",
            y="relative_change",
            categories=True,
            joined=False,
            scale="sizes",
            x_label="weight tensor, from input to output",
            y_label="change / size, in powers of ten",
            caption=(
                "How far each weight tensor lies from the original’s, relative to its size: 0 is unchanged, about 1.4 "
                "is as far as an unrelated model of the same size."
            ),
        ),
    ),
}


def curves_of(check: str, task: str) -> tuple[Curves, ...]:
    """A check's figures: those of its variant for language models where the task has one."""
    own = FACT_CURVES.get(check) if task == "causal-lm" else None
    return own if own is not None else CURVES.get(check, ())


def draw(
    evidence: Evidence, anchor: str, settings: Mapping[str, object], task: str = "classification"
) -> list[Drawing]:
    """The check's own figures where its cells allow any, else the dot plot, else none (no scores).

    Args:
        evidence: of one check.
        anchor: what ids in the figures begin with.
        settings: of the check, as planned.
        task: of the audit.
    """
    if evidence.scores is None:
        return []
    roles = roles_of(evidence)
    title = f"Figure of the check {text.shorten(evidence.check, 60)}"
    drawn: list[Drawing] = []
    used: list[Row] = []
    for i, how in enumerate(curves_of(evidence.check, task)):
        rows = counting(evidence.cells, how, roles, settings)
        if how.rest:
            seen = {id(row) for row in used}
            rows = [row for row in rows if id(row) not in seen]
        used += rows
        if rows:
            found, ticks = panels_of(rows, how, roles)
            drawn.append(panels.draw(found, ticks, how, f"{anchor}-{i}", title))
    if drawn and all(drawing.aside for drawing in drawn):
        drawn = [replace(drawing, aside="") for drawing in drawn]
    return drawn or [forest.dots(evidence.scores, evidence.unit, anchor, evidence.check)]


def roles_of(evidence: Evidence) -> dict[str, str]:
    """Which part each model of this evidence plays."""
    roles: dict[str, str] = {}
    if evidence.scores is not None:
        roles |= dict.fromkeys(evidence.scores.references, "reference")
        roles |= dict.fromkeys(evidence.scores.drawn, "drawn")
        roles |= dict.fromkeys(evidence.scores.decoys, "decoy")
    return {**roles, "original": "original", "unlearned": "unlearned"}
