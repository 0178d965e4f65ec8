"""What methods on conditional diffusion models share: noisy batches, and predictions under labels and vectors."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditor.models.copies import movable_copy
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.diffusion.denoising import Denoiser, label_vector


@dataclass(frozen=True)
class Noisy:
    """A batch of noisy examples.

    Attributes:
        x: x_t, [n, ...].
        times: int64 [n].
        labels: int64 [n].
    """

    x: Tensor
    times: Tensor
    labels: Tensor


def noisy_batches(model: Denoiser, examples: CustomExamples, size: int, random: torch.Generator) -> Iterator[Noisy]:
    """Endless batches of random examples at random times.

    Args:
        model: by whose schedule noise is added.
        examples: with labels as targets.
        size: of a batch.
        random: of examples, times and noise.
    """
    while True:
        some = examples.take(torch.randint(len(examples), (size,), generator=random))
        times = torch.randint(model.n_times, (size,), generator=random)
        noise = torch.randn(some.inputs.shape, generator=random)
        yield Noisy(model.noised(some.inputs, times, noise), times, some.targets)


def predicted(model: Denoiser, batch: Noisy, *, vectors: Tensor | None = None, unconditional: bool = False) -> Tensor:
    """The prediction for a batch under its labels, under given vectors, or under the null label."""
    if vectors is not None:
        with label_vector(model.module, vectors):
            return model.predict(batch.x, batch.times, batch.labels)
    labels = torch.full_like(batch.labels, model.null_label) if unconditional else batch.labels
    return model.predict(batch.x, batch.times, labels)


def guided_away(teacher: Denoiser, batch: Noisy, strength: float) -> Tensor:
    """ε*(x_t, ∅) − η(ε*(x_t, c) − ε*(x_t, ∅)): where guidance with its sign turned leads (ESD, equation 7)."""
    with torch.no_grad():
        free, held = predicted(teacher, batch, unconditional=True), predicted(teacher, batch)
    return free - strength * (held - free)


def student_of(original: nn.Module) -> tuple[Denoiser, Denoiser]:
    """A copy that trains, and the original that it is held against, both in eval mode."""
    return Denoiser.of(movable_copy(original).eval()), Denoiser.of(original)
