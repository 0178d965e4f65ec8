"""What a conditional diffusion model draws: DDIM without noise of its own (Song et al. 2021, arXiv 2010.02502)."""

import torch
from torch import Tensor

from auditor.tasks.diffusion.denoising import Denoiser

_FIRST = 0.95
"""Share of the schedule that drawing starts at: behind it hardly anything of an example is left."""


def draw(denoiser: Denoiser, labels: Tensor, noise: Tensor, steps: int, limits: tuple[float, float]) -> Tensor:
    """Examples drawn under labels, of the shape of ``noise``.

    Each step predicts the example and its noise, and mixes them again as of the next, earlier time.

    Args:
        denoiser: in eval mode.
        labels: int64 [n].
        noise: to start from, [n, ...].
        steps: passes through the network.
        limits: lowest and highest number that an example holds; predictions are clipped to them.
    """
    times = torch.linspace(denoiser.time(_FIRST), 0, steps).round().long().tolist()
    noisy = noise
    with torch.no_grad():
        for time, following in zip(times, [*times[1:], None], strict=True):
            x, rest = _parted(denoiser, noisy, labels, time, limits)
            # After the last step nothing is mixed in.
            noisy = x if following is None else denoiser.noised(x, _all(x, following), rest)
    return noisy


def _parted(
    denoiser: Denoiser, noisy: Tensor, labels: Tensor, time: int, limits: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """The example and the noise in it, as predicted."""
    prediction = denoiser.predict(noisy, _all(noisy, time), labels)
    share = denoiser.alphas[time].to(noisy)
    signal, rest = share.sqrt(), (1 - share).sqrt().clamp_min(1e-6)
    if denoiser.kind == "epsilon":
        x = (noisy - rest * prediction) / signal
    else:
        x = prediction if denoiser.kind == "sample" else signal * noisy - rest * prediction
    x = x.clamp(*limits)
    return x, (noisy - signal * x) / rest


def _all(x: Tensor, time: int) -> Tensor:
    return torch.full((len(x),), time, dtype=torch.int64, device=x.device)
