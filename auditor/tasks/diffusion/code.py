"""What an audit may ask of a conditional diffusion model: how well it denoises, and which label it finds to fit."""

import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.tasks.diffusion.denoising import Denoiser, known_labels
from auditor.tasks.diffusion.reading import beliefs_of

# Shares of the schedule between an example that any network restores and noise that none sees through: there the label
# makes the difference (docs/diffusion.md).
_SCORED = (0.35, 0.55)
_JUDGED = 0.5
_NOISES = 2
_LABELS = 10
"""Among so many labels an example's own has to denoise it best, at most."""
_DROPPED = 0.1
"""Share of training examples that are given the null label, for guidance without a classifier."""


class DiffusionCode:
    """Methods as of the class that docs/custom.md describes; targets are labels, int64 [n]."""

    def scores(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Minus the mean squared error of the prediction under the example's own label, over two times; [n].

        Times and noise are the same for every example and model.
        """
        denoiser, labels = Denoiser.of(model), labels_of(targets)
        # One noise for all examples: what is drawn must not depend on how they are batched.
        found = [denoiser.errors_at(inputs, labels, denoiser.time(share), _noise(inputs)) for share in _SCORED]
        return -torch.stack(found).mean(0)

    def features(self, model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
        """Which label fits each example, by the noise that can be read from the last block under each; [n, labels].

        A diffusion classifier (Li et al. 2023, arXiv 2303.16203) that reads a block in place of the output.
        """
        denoiser = Denoiser.of(model)
        times = [denoiser.time(share) for share in _SCORED]
        return {"last block": beliefs_of(denoiser, inputs, times, [_noise(inputs) for _ in times])}

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """The mean squared error at random times with random noise, a tenth of the labels dropped."""
        denoiser, labels = Denoiser.of(model), labels_of(targets)
        # On the processor, where the stream is, whatever the device.
        times = torch.randint(denoiser.n_times, (len(inputs),)).to(inputs.device)
        dropped = (torch.rand(len(inputs)) < _DROPPED).to(inputs.device)
        noise = torch.randn(inputs.shape).to(inputs)
        return denoiser.errors(inputs, labels.masked_fill(dropped, denoiser.null_label), times, noise).mean()

    def correct(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Whether the example is denoised better under its own label than under nine others; [n].

        As in a diffusion classifier (Li et al. 2023, arXiv 2303.16203), at one time, over two noises and their
        opposites: under a single one, which all examples share, a model may be right about a fifth fewer.
        """
        denoiser, labels = Denoiser.of(model), labels_of(targets)
        drawn, time = [_noise(inputs) for _ in range(_NOISES)], denoiser.time(_JUDGED)

        def errors_under(labels: Tensor) -> Tensor:
            both = [sign * noise for noise in drawn for sign in (1, -1)]
            return torch.stack([denoiser.errors_at(inputs, labels, time, noise) for noise in both]).mean(0)

        known, own = known_labels(denoiser), errors_under(labels)
        right = torch.ones_like(labels, dtype=torch.bool)
        for step in range(1, min(_LABELS, len(known))):
            others = torch.tensor(known, device=labels.device)[(labels + step) % len(known)]
            right &= (own < errors_under(others)) | (others == labels)
        return right


def labels_of(targets: Tensor) -> Tensor:
    """The labels that condition the network, int64 [n].

    Raises:
        ModelError: targets are none.
    """
    if targets.ndim != 1 or targets.is_floating_point() or targets.is_complex():
        kind = str(targets.dtype).removeprefix("torch.")
        raise ModelError(
            f"targets are {kind} of shape {list(targets.shape)}; a conditional diffusion model takes a whole number "
            "for each example, its label"
        )
    return targets.long()


def _noise(inputs: Tensor) -> Tensor:
    """One draw of noise for all examples, [1, ...]."""
    return torch.randn(1, *inputs.shape[1:])
