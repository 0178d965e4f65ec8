"""A vector that is no label's, trained to stand for the forgotten one: does the network still know what it shows?"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.attacks.relearning.budget import course_row
from auditor.attacks.relearning.drawn import AttackRange, DrawnAttack, effort_of
from auditor.attacks.relearning.image_attack import few_of_each
from auditor.checks.check import Check, Workload
from auditor.checks.subject import Scores
from auditor.randomness import derive_seed, generator
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.custom import scale
from auditor.tasks.custom.sets import CustomExamples, CustomSets
from auditor.tasks.custom.subject import CustomModel
from auditor.tasks.diffusion.denoising import Denoiser, known_labels, label_vector, table_of

_ARM = "vector"
_READING = "all attacks"


class Settings(Frozen):
    """A few attacks: some steps of Adam on one vector for each forgotten label."""

    drawn: AttackRange = Field(
        default=AttackRange(steps=(40, 80), shots=(8, 24), learning_rate=(5e-2, 2e-1), forget_share=(1.0, 1.0)),
        description="from which attacks are drawn by the plan's seed; the rate is in units of the table's size",
    )
    attacks: int = Field(default=2, ge=1, description="drawn, and averaged in the score")
    points: tuple[float, ...] = Field(
        default=(0.25, 0.5, 0.75, 1.0), description="shares of an attack's length at which it is measured"
    )
    times: tuple[float, ...] = Field(
        default=(0.35, 0.55), description="shares of the schedule of noise at which errors are measured"
    )


class TextualInversion(Check[CustomModel, CustomSets, Settings, None]):
    """A vector in place of a label's, trained on the attack half with every weight still, measured on the eval half.

    As in textual inversion (Gal et al. 2022, arXiv 2208.01618) the vector v descends the loss of training on a few
    examples, here E‖ε_θ(x_t, v) − ε‖², from the mean of the kept labels' vectors on. That such vectors bring back what
    concept erasure took from its name is Pham et al. 2023, arXiv 2308.01508. With e_i(v) the error of an eval example
    under v, at fixed times with noise from the plan's seed,

        T = −mean over attacks and eval examples of e_i(v),

    in units of the original's gap to the references, which the same attacks are made on: any network denoises anything
    somewhat better under a vector trained for it, and ρ counts only what goes beyond that.
    """

    name: ClassVar[str] = "textual_inversion"
    family: ClassVar[Family] = "elicitation"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("diffusion",)
    asks: ClassVar[tuple[type, ...]] = (Scores,)
    requests: ClassVar[tuple[str, ...]] = ("class",)
    summary: ClassVar[str] = (
        "Trained a vector to stand for the forgotten label, on one half of its examples with the weights left as they "
        "are, and measured how well the other half is then denoised."
    )
    finds: ClassVar[str] = "Under a trained vector in place of the forgotten label's, the network shows"
    unit: ClassVar[str] = "minus the denoising error of unseen forget examples, in units of the original's gap"
    cost: ClassVar[str] = "some one hundred and twenty training steps of the vector, measured at eight of them"
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="step",
            y="value",
            panels=("attack",),
            x_label="training steps",
            y_label="minus the denoising error",
            caption=(
                "How well one half of the forget examples is denoised while a vector in place of the label's is "
                "trained on the other half. The score is the end of every panel, held against the references."
            ),
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2208.01618", here="a vector trained on a few examples, every weight standing still"),
        Source(paper="arXiv 2308.01508", here="such a vector as the attack on an erased concept", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "One vector for a label, trained for a few dozen steps; a longer or cleverer one may bring out more.",
        "What erasure moved in all weights is for relearning to find.",
    )
    least_spread: ClassVar[float] = 0.05
    settings_type: ClassVar[type[Frozen]] = Settings

    def workload(self, data: CustomSets, settings: Settings, n_layers: int) -> Workload:
        """Steps times shots, and measurements times eval examples and times."""
        kinds = len(data.forget_attack.labels.unique())
        shots = round(min(settings.drawn.expected_shots * kinds, len(data.forget_attack)))
        measured = len(settings.points) * len(data.forget_eval) * len(settings.times)
        return Workload(
            step=shots,
            training=round(settings.attacks * settings.drawn.expected_steps * shots),
            forward=settings.attacks * measured,
        )

    def score(self, subject: CustomModel, artefact: None, data: CustomSets, settings: Settings, seed: int) -> Score:
        """Attack one model, whose weights stay as they are."""
        attacks = settings.drawn.draw(settings.attacks, seed)
        rows: list[Row] = []
        found = []
        for number, attack in enumerate(attacks, start=1):
            curve = _Inversion(subject, data, settings, derive_seed(seed, "inversion", number)).run(attack)
            rows += [
                course_row(_ARM, number, attack, attack.shots, step, float(values.mean()))
                for step, values in curve.items()
            ]
            found.append(list(curve.values())[-1].numpy())
        examples = np.mean(found, axis=0)
        return Score(
            check=self.name,
            readings={_READING: Reading(value=float(examples.mean()), examples=tuple(examples.tolist()))},
            n_examples=len(examples),
            rows=rows,
            effort=f"{effort_of(attacks, 'a label')}, through one vector for each label",
        )

    def rescale(self, original: Score, references: Sequence[Score]) -> Callable[[Score], Score]:
        """From squared errors to the original's gap."""
        return scale.in_gaps(original, references, _READING)


class _Inversion:
    """One attack on one model."""

    def __init__(self, subject: CustomModel, data: CustomSets, settings: Settings, seed: int) -> None:
        self._subject, self._data, self._settings, self._seed = subject, data, settings, seed
        self._denoiser = Denoiser.of(subject.module)
        self._labels = data.forget.labels.unique()
        self._device = next(subject.module.parameters())

    def run(self, attack: DrawnAttack) -> dict[int, Tensor]:
        """Minus the errors of eval examples by step at which it was measured, float64 [n]."""
        random = generator(self._seed, "shots")
        pool = self._data.forget_attack
        shots = pool.take(few_of_each(pool.labels, attack.shots, random.permutation))
        steps, curve = attack.measured(self._settings.points), {}
        start, size = self._start()
        values = nn.Parameter((start / size).expand(len(self._labels), -1).clone())
        optimizer = attack.optimizer_of([values])
        noise = torch.Generator().manual_seed(derive_seed(self._seed, "noise"))
        with _still(self._subject.module):
            for step in range(1, attack.steps + 1):
                optimizer.zero_grad()
                self._loss(size * values, shots, noise).backward()
                optimizer.step()
                if step in steps:
                    curve[step] = self._measured(size * values.detach())
        return curve

    def _start(self) -> tuple[Tensor, float]:
        """Mean of the kept labels' vectors, and the size of the table's numbers."""
        kept = [label for label in known_labels(self._denoiser) if label not in self._labels.tolist()]
        rows = table_of(self._subject.module).weight.detach()[kept].float()
        return rows.mean(0), float(rows.square().mean().sqrt()) or 1.0

    def _loss(self, vectors: Tensor, shots: CustomExamples, random: torch.Generator) -> Tensor:
        times = torch.randint(self._denoiser.n_times, (len(shots),), generator=random)
        noise = torch.randn(shots.inputs.shape, generator=random)
        return self._errors(vectors, shots, times, noise).mean()

    def _measured(self, vectors: Tensor) -> Tensor:
        """At every time one noise for all examples, the same for every model and step."""
        examples = self._data.forget_eval
        random = generator(self._seed, "measured")
        noises = [random.standard_normal(examples.inputs.shape[1:]) for _ in self._settings.times]
        found = []
        for share, noise in zip(self._settings.times, noises, strict=True):
            parts = []
            for batch in examples.batches(self._subject.batch_size):
                times = torch.full((len(batch),), self._denoiser.time(share))
                same = torch.from_numpy(noise).expand_as(batch.inputs)
                with torch.no_grad():
                    parts.append(self._errors(vectors, batch, times, same).double().cpu())
            found.append(torch.cat(parts))
        return -torch.stack(found).mean(0)

    def _errors(self, vectors: Tensor, batch: CustomExamples, times: Tensor, noise: Tensor) -> Tensor:
        self._subject.passes.examples += len(batch)
        labels, places = batch.labels.to(self._device.device), torch.searchsorted(self._labels, batch.labels)
        with label_vector(self._subject.module, vectors[places.to(vectors.device)]):
            inputs = batch.inputs.to(self._device)
            return self._denoiser.errors(inputs, labels, times.to(inputs.device), noise.to(inputs))


@contextmanager
def _still(module: nn.Module) -> Iterator[None]:
    """While open no weight takes gradients."""
    moved = [p for p in module.parameters() if p.requires_grad]
    for parameter in moved:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in moved:
            parameter.requires_grad_(True)
