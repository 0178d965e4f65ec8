"""Affine maps between two models' activation spaces, fitted on retain data only.

Two networks that compute the same function may name their units differently. Anything that carries a vector
from one model into another goes through such a map first.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.models.standardise import alive_by_own_mean, divisor


@dataclass(frozen=True, slots=True)
class Affine:
    """x ↦ x W + b, acting on the last axis, or on axis 1 of convolutional maps.

    Attributes:
        weight: float32 [from, to].
        bias: float32 [to].
        r2: share of the target's variance explained on the data it was fitted on, ≤ 1.
    """

    weight: Tensor
    bias: Tensor
    r2: float

    def __call__(self, x: Tensor) -> Tensor:
        """Map activations [n, from], [n, tokens, from] or [n, from, h, w]."""
        if x.ndim == 4:
            return torch.einsum("nchw,cd->ndhw", x, self.weight) + self.bias[:, None, None]
        return x @ self.weight + self.bias

    def linear(self, x: Tensor) -> Tensor:
        """Map differences of activations: as :meth:`__call__` without the bias."""
        if x.ndim == 4:
            return torch.einsum("nchw,cd->ndhw", x, self.weight)
        return x @ self.weight


def rows(activation: Tensor) -> Tensor:
    """Activations as vectors: [n, c, h, w] → [n·h·w, c]; [n, tokens, d] → [n·tokens, d]; [n, d] as is."""
    if activation.ndim == 4:
        return activation.permute(0, 2, 3, 1).reshape(-1, activation.shape[1])
    return activation.reshape(-1, activation.shape[-1])


def fit_affine(source: Tensor, target: Tensor, ridge: float = 1e-3) -> Affine:
    """Ridge regression of target on source; the source is z-scored first, so unit scales do not matter.

    Args:
        source: float [n, from], rows paired with ``target``.
        target: float [n, to].
        ridge: penalty relative to n.
    """
    # In double precision: the Gram matrix squares the condition of the features.
    x, y = source.double(), target.double()
    x_mean, y_mean = x.mean(0), y.mean(0)
    x_std = x.std(0)
    # A dead unit carries nothing, and its noise is not to be blown up.
    alive = alive_by_own_mean(x_std, x_mean)
    x_std = divisor(x_std, alive)
    z = (x - x_mean) / x_std * alive
    gram = z.T @ z + ridge * z.shape[0] * torch.eye(z.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(gram, z.T @ (y - y_mean))
    residual = (y - y_mean - z @ solution).square().sum()
    total = (y - y_mean).square().sum().clamp_min(1e-30)
    weight = solution / x_std[:, None]
    return Affine((weight).float(), (y_mean - x_mean @ weight).float(), float(1 - residual / total))
