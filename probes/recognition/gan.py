"""What a judge recognises in the images that a GAN draws, under every label."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from scipy.stats import wasserstein_distance

from auditor.checks.check import Check, Workload
from auditor.probes.recognition.judge import Judge, Training
from auditor.randomness import derive_seed
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.custom.sets import CustomSets, joined
from auditor.tasks.gan.subject import GanModel

RECOGNISED = "recognised"
DEGREE = "degree of unlearning"
"""The control that holds how far the judge's scores lie from those of the original."""
_ORIGINAL = "original"


class Settings(Frozen):
    """Sizes."""

    samples: int = Field(default=200, ge=2, description="images drawn under each label")
    training: Training = Field(default=Training(), description="of the judge")
    reliable: float = Field(
        default=0.5, ge=0, le=1, description="share of real forget examples that the judge has to recognise"
    )


class Recognition(Check[GanModel, CustomSets, Settings, Judge]):
    """How many of the images that are drawn from one latent, one under each label, show the forgotten class.

    A judge is trained once on retain examples and the attack half (:mod:`auditor.probes.recognition.judge`). With p(x)
    the probability that it gives the forgotten classes,

        x_j = sum over labels y of p(G(z_j, y)),    T = mean of x_j over 200 latents z_j, the same for every model.

    A sum over all labels, so that a class that is drawn under another label is no less seen. The judge takes the place
    of the image-text score of Text-to-Unlearn (arXiv 2504.01218); its degree of unlearning, the Wasserstein-1 distance
    of the scores from the original's, stands among the controls and decides nothing: a wreck is far away, too.
    """

    name: ClassVar[str] = "recognition"
    family: ClassVar[Family] = "behaviour"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "samples"
    tasks: ClassVar[tuple[str, ...]] = ("gan",)
    requests: ClassVar[tuple[str, ...]] = ("class",)
    summary: ClassVar[str] = (
        "Drew images under every label and had a classifier, trained for this audit on real examples, count those that "
        "show what was to be forgotten."
    )
    finds: ClassVar[str] = "Asked to draw under every label, the model shows"
    unit: ClassVar[str] = "images recognised as forgotten, of one drawn under each label"
    cost: ClassVar[str] = "200 images drawn under each label, and once the training of a small classifier"
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="label",
            y="recognised",
            categories=True,
            joined=False,
            x_label="label that was asked for",
            y_label="share recognised as forgotten",
            caption="Which share of the images drawn under each label the judge takes for what was to be forgotten.",
        ),
    )
    least_spread: ClassVar[float] = 0.05
    caveats: ClassVar[tuple[str, ...]] = (
        "What is no longer drawn may still be known: nothing recognised never means deletion.",
        "The judge is a small network; what it recognises in images that look like none of its own is chance.",
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            paper="arXiv 2504.01218",
            here="its image-text score with a classifier trained here as judge; its degree of unlearning as a control",
        ),
    )
    settings_type: ClassVar[type[Frozen]] = Settings

    def workload(self, data: CustomSets, settings: Settings, n_layers: int) -> Workload:
        """Images drawn; the labels are those of the sets, which a generator knows at least."""
        labels = len(torch.cat([data.retain.labels, data.forget.labels]).unique())
        return Workload(forward=settings.samples * labels)

    def prepare(self, original: GanModel, data: CustomSets, settings: Settings, seed: int) -> Judge:
        """Train the judge; of the original nothing is looked at."""
        return Judge.taught(joined(data.retain, data.forget_attack), settings.training, seed)

    def score(self, subject: GanModel, artefact: Judge, data: CustomSets, settings: Settings, seed: int) -> Score:
        """Measure one model by what it draws."""
        gan, forgotten = subject.gan, data.forget.labels.unique()
        latents = gan.latents(settings.samples, derive_seed(seed, "recognition"))
        drawn = [subject.images(latents, label) for label in range(gan.labels)]
        by_label = torch.stack([artefact.of_classes(images, forgotten) for images in drawn]).double()
        found = by_label.sum(0)
        seen = float(artefact.of_classes(data.forget_eval.inputs, forgotten).mean())
        return Score(
            check=self.name,
            readings={RECOGNISED: Reading(value=float(found.mean()), examples=tuple(found.tolist()))},
            n_examples=settings.samples,
            rows=[{"label": label, "recognised": float(share)} for label, share in enumerate(by_label.mean(1))],
            controls={"real forget examples recognised": seen},
            not_applicable_because=None if seen >= settings.reliable else _unreliable(seen),
        )

    def summarise(
        self, scores: Mapping[str, Score], references: Sequence[str]
    ) -> tuple[list[Row], dict[str, dict[str, float]]]:
        """The degree of unlearning of every model."""
        before = scores[_ORIGINAL].readings[RECOGNISED].examples
        return [], {
            name: {DEGREE: float(wasserstein_distance(before, score.readings[RECOGNISED].examples))}
            for name, score in scores.items()
        }


def _unreliable(seen: float) -> str:
    return f"the judge recognises only {100 * seen:.0f} % of real forget examples that it was not trained on"
