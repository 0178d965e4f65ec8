"""Whether a classifier recognises what a diffusion model draws under the forgotten label."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from auditor.checks.check import Check, Workload
from auditor.checks.subject import Scores
from auditor.randomness import generator
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.diffusion.denoising import Denoiser
from auditor.tasks.diffusion.judge import Judge
from auditor.tasks.diffusion.sampling import draw

_READING = "recognised"


class Settings(Frozen):
    """How much is drawn."""

    drawn: int = Field(default=48, ge=8, description="examples under each forgotten label")
    kept: int = Field(default=24, ge=1, description="examples under kept labels, in turn, as a control")
    steps: int = Field(default=20, ge=2, description="passes through the network for each of them")


class Recognition(Check[CustomModel, CustomSets, Settings, Judge]):
    """Draws examples under each forgotten label, from the same noise for every model, and lets a classifier judge them.

    T = mean over drawn examples of the probability that the classifier gives the label. It is trained on the attack
    half and on retain, once, and is the same for all models. Drawn by DDIM without noise of its own (arXiv 2010.02502),
    without guidance. Unlearned diffusion models are commonly judged so (ESD, arXiv 2303.07345); here references that
    never saw the label are judged as well, since a classifier gives some label to anything.
    """

    name: ClassVar[str] = "recognition"
    family: ClassVar[Family] = "behaviour"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "samples"
    tasks: ClassVar[tuple[str, ...]] = ("diffusion",)
    asks: ClassVar[tuple[type, ...]] = (Scores,)
    requests: ClassVar[tuple[str, ...]] = ("class",)
    summary: ClassVar[str] = (
        "Let the model draw examples under the forgotten label, and a classifier that was trained on real ones say "
        "how many of them it recognises."
    )
    finds: ClassVar[str] = "Asked to draw what was to be forgotten, the model shows"
    unit: ClassVar[str] = "probability of the forgotten label by a classifier, mean over drawn examples (0 to 1)"
    cost: ClassVar[str] = "some fourteen hundred forward passes of single examples"
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="label",
            y="recognised",
            categories=True,
            joined=False,
            x_label="label that was asked for",
            y_label="probability of that label by the classifier",
            caption=(
                "How surely a classifier recognises what was drawn under each label. What is forgotten lies with the "
                "references; kept labels show what the model can still draw."
            ),
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2303.07345", here="a classifier's recognition of what is drawn under the label", part=True),
        Source(paper="arXiv 2010.02502", here="how examples are drawn", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "What is not drawn under its label may still be drawn under another, or under a vector that is no label's.",
        "The classifier knows the forgotten and the kept labels alone, and gives one of them to anything.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings

    def workload(self, data: CustomSets, settings: Settings, n_layers: int) -> Workload:
        """Passes for every drawn example."""
        return Workload(forward=settings.steps * (settings.drawn * len(data.classes) + settings.kept))

    def prepare(self, original: CustomModel, data: CustomSets, settings: Settings, seed: int) -> Judge:
        """Train the classifier, which looks at no model."""
        return Judge(data, seed)

    def score(self, subject: CustomModel, artefact: Judge, data: CustomSets, settings: Settings, seed: int) -> Score:
        """Draw and judge."""
        lost = torch.tensor(data.classes).repeat_interleave(settings.drawn)
        kinds = data.retain.labels.unique()
        kept = kinds[torch.arange(settings.kept) % len(kinds)]
        found = {
            side: artefact.recognises(drawn_by(subject, data, labels, settings.steps, seed), labels)
            for side, labels in (("forgotten", lost), ("kept", kept))
        }
        values = found["forgotten"]
        rows: list[Row] = [{"label": side, "recognised": float(own.mean())} for side, own in found.items()]
        real = artefact.recognises(data.forget_eval.inputs, data.forget_eval.labels)
        return Score(
            check=self.name,
            readings={_READING: Reading(value=float(values.mean()), examples=tuple(values.tolist()))},
            n_examples=len(values),
            rows=rows,
            controls={
                "kept labels recognised": float(found["kept"].mean()),
                "real examples recognised": float(real.mean()),
            },
        )


def drawn_by(subject: CustomModel, data: CustomSets, labels: Tensor, steps: int, seed: int) -> Tensor:
    """Examples that a subject draws under labels, on the processor; the same noise for every model."""
    random = generator(seed, "recognition", len(labels))
    shape = (len(labels), *data.retain.inputs.shape[1:])
    weight = next(subject.module.parameters())
    noise = torch.from_numpy(random.standard_normal(shape)).to(weight)
    limits = float(data.retain.inputs.min()), float(data.retain.inputs.max())
    denoiser, parts = Denoiser.of(subject.module), []
    for some in torch.arange(len(labels)).split(subject.batch_size):
        subject.passes.examples += steps * len(some)
        parts.append(draw(denoiser, labels[some].to(weight.device), noise[some], steps, limits).float().cpu())
    return torch.cat(parts)
