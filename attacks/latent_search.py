"""How near a generator can be brought to what it was to forget, by searching what it may be given."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from auditor.checks.check import Check, Workload
from auditor.errors import ModelError
from auditor.randomness import derive_seed
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.custom import scale
from auditor.tasks.custom.sets import CustomExamples, CustomSets
from auditor.tasks.gan.parts import distances
from auditor.tasks.gan.subject import GanModel

REACHED = "reached"


class Settings(Frozen):
    """Sizes of both searches."""

    bank: int = Field(default=64, ge=1, description="latents that images are drawn from while the vector is searched")
    vector_steps: int = Field(default=60, ge=1, description="of Adam, on the vector in place of the label's")
    vector_rate: float = Field(default=0.1, gt=0, description="in units of the spread of the table of labels")
    latent_steps: int = Field(default=40, ge=1, description="of Adam, on the latent of each eval example")
    latent_rate: float = Field(default=0.1, gt=0)
    largest: float = Field(default=2.5, gt=0, description="size of a number of a latent, at most")
    points: int = Field(default=8, ge=1, description="steps at which the figure shows the second search")


class LatentSearch(Check[GanModel, CustomSets, Settings, None]):
    """Vector of the label searched on the attack half, latents on the eval half; no weight is changed.

    Label space: from each forgotten label's row of the generator's table, and from the mean of all rows, a vector e
    descends the mean over attack examples x of min_j ‖x − G(z_j, e)‖², z_j 64 latents. The e that ends lowest is taken.
    Latent space: for each eval example x a latent z, from the nearest of the same 64, descends ‖x − G(z, e)‖², every
    number of z held to ±2.5. With d_i the smallest mean squared difference met on the way,

        T = mean of exp(−8(1 − y_i)),    y_i = clip((r̄_i − d_i)/Δ, 0, 1),

    r̄_i and Δ as of the scores (:mod:`auditor.tasks.custom.scale`). A generator that never drew the class comes near to
    it as well, each as luck has it; so the references, searched alike, are the null, and what counts is how near a
    model comes to the original. Without two references T is −d_i, which says nothing by itself.
    Suppression that moves only what a label is read as is undone by the first search.
    """

    name: ClassVar[str] = "latent_search"
    family: ClassVar[Family] = "elicitation"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("gan",)
    requests: ClassVar[tuple[str, ...]] = ("class",)
    summary: ClassVar[str] = (
        "Searched what the generator may be given, a vector in place of the label and latents, for images like the "
        "forgotten ones, and measured how near it came to those that the search had not seen."
    )
    finds: ClassVar[str] = "Given the best label vector and latents that were found, the generator comes near, with"
    unit: ClassVar[str] = "how near to unseen forget examples, from about 0 like the references to 1 like the original"
    cost: ClassVar[str] = "some thousands of images drawn with gradients, no weight being trained"
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="step",
            y="difference",
            rises=True,
            x_label="step of the search among latents",
            y_label="mean squared difference",
            caption=(
                "How near the generator comes to unseen forget examples while their latents are searched. "
                "Lower is nearer; a model that still knows them lies with the original, not with the references."
            ),
        ),
    )
    least_spread: ClassVar[float] = 0.05
    caveats: ClassVar[tuple[str, ...]] = (
        "A search that finds nothing has not shown that nothing is there.",
        "The discriminator is not looked at.",
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2101.05278", here="images looked for among latents by gradient", part=True),
        Source(paper="arXiv 2308.01508", here="a vector looked for in place of the label's", part=True),
    )
    settings_type: ClassVar[type[Frozen]] = Settings

    def workload(self, data: CustomSets, settings: Settings, n_layers: int) -> Workload:
        """Images drawn in both searches."""
        starts, n = 1 + len(data.forget.labels.unique()), len(data.forget_eval)
        largest = max(settings.bank, n)
        return Workload(
            training=starts * (settings.vector_steps + 1) * settings.bank + (settings.latent_steps + 1) * n,
            forward=settings.bank,
            step=largest,
        )

    def rescale(self, original: Score, references: Sequence[Score]) -> Callable[[Score], Score]:
        """From differences to the common scale; without two references no change."""
        return scale.rescale(original, references, REACHED)

    def score(self, subject: GanModel, artefact: None, data: CustomSets, settings: Settings, seed: int) -> Score:
        """Search what one model's generator may be given.

        Raises:
            ModelError: it draws NaN or infinite values.
        """
        latents = subject.gan.latents(settings.bank, derive_seed(seed, "latent search"))
        # The graph is of vectors and latents alone; weights stand still.
        with torch.enable_grad():
            found = [
                _vector(subject, data.forget_attack, latents, start, settings)
                for start in _starts(subject, data.forget.labels.unique())
            ]
            vector = min(found, key=lambda one: one[1])[0]
            course = _latents(subject, data.forget_eval, latents, vector, settings)
        nearest = course.min(0).values.double()
        return Score(
            check=self.name,
            readings={REACHED: Reading(value=float(-nearest.mean()), examples=tuple((-nearest).tolist()))},
            n_examples=len(nearest),
            rows=_rows(course, settings.points),
            controls={"attack half, mean squared difference": min(lowest for _, lowest in found)},
        )


def _starts(subject: GanModel, labels: Tensor) -> list[Tensor]:
    """Rows of the forgotten labels that the generator has, and the mean of all."""
    table = subject.gan.table.weight.detach()
    return [table.mean(0), *(table[label] for label in labels if label < len(table))]


def _vector(
    subject: GanModel, attack: CustomExamples, latents: Tensor, start: Tensor, settings: Settings
) -> tuple[Tensor, float]:
    """The vector with the lowest mean difference met on the way, [width of the table], and that difference."""
    spread = float(subject.gan.table.weight.detach().std(0, correction=0).mean()) or 1.0
    moved = torch.zeros_like(start).requires_grad_()
    optimizer = torch.optim.Adam([moved], lr=settings.vector_rate)
    images, best, lowest = attack.inputs.to(latents.device), start, float("inf")
    for step in range(settings.vector_steps + 1):
        vector = start + spread * moved
        drawn = subject.images_at(latents, vector.expand(len(latents), -1))
        mean = distances(images, drawn).min(1).values.mean()
        value = _finite(subject, mean)
        if value < lowest:
            best, lowest = vector.detach().clone(), value
        if step < settings.vector_steps:
            (moved.grad,) = torch.autograd.grad(mean, moved)
            optimizer.step()
    return best, lowest


def _latents(subject: GanModel, evaluation: CustomExamples, bank: Tensor, vector: Tensor, settings: Settings) -> Tensor:
    """Difference of each eval example from what its own latent draws, after every step, [steps + 1, n]."""
    parts = []
    with torch.no_grad():
        drawn = subject.images_at(bank, vector.expand(len(bank), -1))
    # Example by example the searches do not touch each other, so that batches change nothing.
    for batch in evaluation.batches(subject.batch_size):
        images = batch.inputs.to(bank.device)
        latents = bank[distances(images, drawn).argmin(1)].clamp(-settings.largest, settings.largest).requires_grad_()
        optimizer, course = torch.optim.Adam([latents], lr=settings.latent_rate), []
        for step in range(settings.latent_steps + 1):
            own = subject.images_at(latents, vector.expand(len(latents), -1))
            apart = (own - images).float().flatten(1).square().mean(1)
            _finite(subject, apart.sum())
            course.append(apart.detach().cpu())
            if step < settings.latent_steps:
                (latents.grad,) = torch.autograd.grad(apart.sum(), latents)
                optimizer.step()
                latents.data.clamp_(-settings.largest, settings.largest)
        parts.append(torch.stack(course))
    return torch.cat(parts, dim=1)


def _finite(subject: GanModel, value: Tensor) -> float:
    found = float(value.detach())
    if not torch.isfinite(value):
        raise ModelError(f"the {subject.role} model draws NaN or infinite values; check the checkpoint")
    return found


def _rows(course: Tensor, points: int) -> list[Row]:
    """The mean difference at a few steps, the smallest of each example until then."""
    so_far = course.cummin(0).values.mean(1)
    steps = sorted({round(i * (len(so_far) - 1) / points) for i in range(points + 1)})
    return [{"step": step, "difference": float(so_far[step])} for step in steps]
