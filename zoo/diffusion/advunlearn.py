"""AdvUnlearn: erasing a concept under the strongest prompt near it (Zhang et al. 2024, arXiv 2405.15234)."""

from itertools import islice

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.diffusion.denoising import Denoiser, table_of
from auditor.zoo.diffusion.editing import Noisy, guided_away, noisy_batches, predicted, student_of


class Settings(Frozen):
    """Both levels of the optimisation."""

    strength: float = Field(default=1.0, ge=0, description="η, of the guidance away from the concept")
    kept: float = Field(default=1.0, ge=0, description="γ, of what is held to the original on retain")
    radius: float = Field(
        default=0.5, ge=0, description="of the attack on each number of the vector, in the table's RMS"
    )
    attack_steps: int = Field(default=4, ge=0, description="of the lower level, by the sign of the gradient")
    learning_rate: float = Field(default=5e-4, gt=0, description="of Adam, upper level")
    steps: int = Field(default=150, ge=1, description="of the upper level")
    batch_size: int = Field(default=32, ge=1, description="of forget and of retain examples each")


def advunlearn(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject, whose truth is not known in advance.

    Lower level: the vector c* within the radius around the label's under which the student predicts most nearly what
    the original does under the label, min ‖ε_θ(x_t, c*) − ε*(x_t, c)‖². Upper level: all weights descend the loss of
    ESD under c*, plus γ‖ε_θ(x_t, c̃) − ε*(x_t, c̃)‖² on retain examples under their labels c̃. The paper moves tokens
    and trains, in its stronger form, the text encoder; a label has neither, so that its vector is moved and the network
    trained.
    """
    student, teacher = student_of(original)
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(student.module.parameters(), lr=settings.learning_rate)
    pairs = zip(
        noisy_batches(teacher, forget, settings.batch_size, random),
        noisy_batches(teacher, retain, settings.batch_size, random),
        strict=False,
    )
    for lost, kept in islice(pairs, settings.steps):
        worst = strongest_vectors(student, teacher, lost, settings)
        optimizer.zero_grad()
        with torch.no_grad():
            same = predicted(teacher, kept)
        erased = (predicted(student, lost, vectors=worst) - guided_away(teacher, lost, settings.strength)).square()
        held = (predicted(student, kept) - same).square()
        (erased.mean() + settings.kept * held.mean()).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return student.module


def strongest_vectors(student: Denoiser, teacher: Denoiser, batch: Noisy, settings: Settings) -> Tensor:
    """The lower level's answer, one vector for each label of the batch, [n, width]."""
    with torch.no_grad():
        wanted = predicted(teacher, batch)
    table = table_of(student.module).weight.detach()
    radius = settings.radius * float(table.square().mean().sqrt())
    start, kinds = table[batch.labels], batch.labels.unique(return_inverse=True)[1]
    moved = torch.zeros(int(kinds.max()) + 1, table.shape[1])
    for _ in range(settings.attack_steps):
        moved.requires_grad_()
        gap = (predicted(student, batch, vectors=start + moved[kinds]) - wanted).square().mean()
        (gradient,) = torch.autograd.grad(gap, moved)
        # Half of the radius each, so that a few steps reach its rim from anywhere inside.
        moved = (moved.detach() - radius / 2 * gradient.sign()).clamp(-radius, radius)
    return (start + moved[kinds]).detach()
