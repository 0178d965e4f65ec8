"""What an audit may ask of a class-conditional GAN: how near it comes to an example, what both networks hold of it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from auditor.tasks.gan.parts import Gan, distances, labels_of

_SAMPLES = 128
"""Images drawn under a label, of which the nearest counts."""
_PLACES = 96
"""Images of the generator that a feature holds an example against."""
_NEAREST = 16
"""Images drawn for each label of a training batch, of which the nearest to each example is brought nearer."""
_NEAREST_WEIGHT = 30.0


class GanCode:
    """Methods as of the class that docs/custom.md describes; targets are labels, int64 [n]."""

    def scores(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Minus the mean squared difference from the nearest of 128 images drawn under the example's label, [n].

        Latents are the same for every example and model.
        """
        gan = Gan.of(model)
        return -_nearest(gan, inputs, labels_of(targets, gan))

    def features(self, model: nn.Module, inputs: Tensor) -> Mapping[str, Tensor]:
        """What the discriminator holds of an example by layer, and as many times where it lies for the generator.

        Where it lies for the generator: minus its distances from 96 images drawn at random places between the labels,
        so that the row of no single label decides what is found.
        """
        gan = Gan.of(model)
        discriminator: Any = gan.discriminator  # of the user's; it has `hidden`, or it says so
        hidden = discriminator.hidden(inputs)
        # As many as of the discriminator: a mean over layers must not drown the network that draws.
        seed = _drawn_seed()
        places = [_between_labels(gan, seed + 2 * i) for i in range(len(hidden))]
        own = {f"generator {i}": -distances(inputs, images) for i, images in enumerate(places, start=1)}
        return {**own, **{f"discriminator {name}": rows for name, rows in hidden.items()}}

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Both networks' losses in one number, each with gradients in its own weights alone.

        The discriminator tells real images from drawn ones and says labels; the generator descends the non-saturating
        loss against a discriminator that stands still and is told the label, and the distance of each example from the
        nearest of 16 images under its label, without which so small a generator draws one image for each label.
        """
        gan = Gan.of(model)
        labels = labels_of(targets, gan)
        drawn = gan.generator(torch.randn(len(inputs), gan.width).to(inputs), labels)
        softplus, cross_entropy = nn.functional.softplus, nn.functional.cross_entropy
        # Both in one pass, of which the labels of what was drawn are not asked.
        judged, said = gan.discriminator(torch.cat([inputs, drawn.detach()]))
        real, fake = judged.split(len(inputs))
        discriminating = softplus(-real).mean() + softplus(fake).mean() + cross_entropy(said[: len(inputs)], labels)
        still = {name: value.detach() for name, value in gan.discriminator.named_parameters()}
        fooled, taken_for = functional_call(gan.discriminator, still, (drawn,))
        generating = softplus(-fooled).mean() + cross_entropy(taken_for, labels)
        return discriminating + generating + _NEAREST_WEIGHT * _reached(gan, inputs, labels)

    def correct(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Whether the nearest of all images drawn is of the example's label."""
        gan = Gan.of(model)
        labels = labels_of(targets, gan)
        drawn = gan.under(gan.latents(_SAMPLES, _drawn_seed()), range(gan.labels))
        every = [distances(inputs, images).min(1).values for images in drawn]
        return torch.stack(every, dim=1).argmin(1) == labels


def _nearest(gan: Gan, inputs: Tensor, labels: Tensor) -> Tensor:
    """Distance of each example from the nearest of the fixed images under its label, [n]."""
    asked, found = labels.unique().tolist(), torch.zeros(len(inputs)).to(inputs)
    drawn = gan.beside(inputs, gan.latents(_SAMPLES, _drawn_seed()), asked)
    for label, images in zip(asked, drawn, strict=True):
        own = labels == label
        found[own] = distances(inputs[own], images).min(1).values.to(found)
    return found


def _drawn_seed() -> int:
    """Out of torch's stream, which is the plan's and the same for every model."""
    return int(torch.randint(2**31, ()))


def _between_labels(gan: Gan, seed: int) -> Tensor:
    return gan.images_at(gan.latents(_PLACES, seed), gan.vectors(_PLACES, seed + 1))


def _reached(gan: Gan, inputs: Tensor, labels: Tensor) -> Tensor:
    """Mean distance of the examples from the nearest of a few images under their labels (Li and Malik 2018)."""
    asked, places = labels.unique(return_inverse=True)
    drawn = gan.under(torch.randn(_NEAREST, gan.width).to(inputs), asked.tolist())
    apart: Tensor = distances(inputs, drawn.flatten(0, 1)).unflatten(1, drawn.shape[:2])
    nearest = apart.min(2).values
    return nearest.gather(1, places[:, None]).mean()
