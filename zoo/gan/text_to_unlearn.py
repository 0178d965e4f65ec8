"""Text-to-Unlearn: a generator turned away from a concept by a judge (Nagasubramaniam et al. 2025, arXiv 2504.01218).

After the paper's abstract and a summary of it; the text was not to be had whole. There, CLIP and text prompts say
which way to go: a direction between latent pairs in its space of embeddings, along which a copy of the generator is
moved away from the frozen original. Here a classifier that is trained for it takes CLIP's place, and the direction
leads from what it holds of images of the forgotten label to what it holds of images of the others. What keeps the rest,
a perceptual distance there, is the squared difference of pixels.
"""

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.probes.recognition.judge import Judge, Training
from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples, joined
from auditor.tasks.gan.parts import Gan
from auditor.zoo.gan.editing import descended

_EPSILON = 1e-6


class Settings(Frozen):
    """The fine-tuning, and the judge's training."""

    learning_rate: float = Field(default=3e-3, gt=0, description="of Adam")
    steps: int = Field(default=200, ge=1)
    batch_size: int = Field(default=32, ge=1, description="latents per step")
    direction_weight: float = Field(default=1.0, ge=0, description="of 1 − cos, which way images move")
    concept_weight: float = Field(default=2.0, ge=0, description="of the judge's score of the concept")
    kept_weight: float = Field(default=100.0, ge=0, description="of the squared difference under the labels kept")
    judge: Training = Field(default=Training(), description="in CLIP's place")


def text_to_unlearn(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject, whose truth is not known in advance. The discriminator is the original's, to the last bit.

    With h the judge's embedding, G* the original generator, c a forgotten label, y a kept one and i the direction,

        L = 1 − cos(h(G(z, c)) − h(G*(z, c)), i) + 2p(c | G(z, c)) + 100·‖G(z, y) − G*(z, y)‖².
    """
    judge = Judge.taught(joined(retain, forget), settings.judge, seed)
    frozen, forgotten, kept = Gan.of(original), forget.labels.unique(), retain.labels.unique()
    away = direction(frozen, judge, forgotten, kept, seed)

    def loss(module: nn.Module, latents: Tensor, gone: Tensor, others: Tensor) -> Tensor:
        moving = Gan.of(module).generator
        with torch.no_grad():
            was, same = frozen.generator(latents, gone), frozen.generator(latents, others)
        images = moving(latents, gone)
        moved = judge.hidden(images) - judge.hidden(was)
        turned = 1 - nn.functional.cosine_similarity(moved, away[None], eps=_EPSILON)
        shown = judge.of_classes(images, forgotten)
        held = (moving(latents, others) - same).square().flatten(1).mean(1)
        total: Tensor = (
            settings.direction_weight * turned + settings.concept_weight * shown + settings.kept_weight * held
        )
        return total.mean()

    steps = _draws(frozen, forgotten, kept, settings, seed)
    return descended(original, steps, loss, settings.learning_rate, seed, part="generator")


def direction(gan: Gan, judge: Judge, forgotten: Tensor, kept: Tensor, seed: int) -> Tensor:
    """From what the judge holds of images of forgotten labels to that of kept ones, of the same latents, [width]."""
    latents = gan.latents(64, seed)
    with torch.no_grad():
        there, here = (
            torch.stack([judge.hidden(gan.images(latents, int(label))) for label in labels]).mean((0, 1))
            for labels in (kept, forgotten)
        )
    return there - here


def _draws(
    gan: Gan, forgotten: Tensor, kept: Tensor, settings: Settings, seed: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    random = torch.Generator().manual_seed(seed)
    for _ in range(settings.steps):
        latents = torch.randn(settings.batch_size, gan.width, generator=random)
        gone, others = (
            labels[torch.randint(len(labels), (settings.batch_size,), generator=random)] for labels in (forgotten, kept)
        )
        yield latents, gone, others
