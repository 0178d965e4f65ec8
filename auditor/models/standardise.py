"""Standardising features by their own mean and spread, and which units carry nothing.

A unit may be scaled at will without changing what a network computes, so features are compared in units of each unit's
own spread, the sample standard deviation over examples. A *dead* unit is constant but for rounding; divided by its
spread, that rounding would look like a feature.

There are three rules for dead and two ways to divide. They differ on units that hardly move, or in the last digit. The
scores of a check belong to its rule, so each stands here by its name, with its reason.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_SHARE = 1e-6
"""A spread below this share of what it is held against is rounding: float32 carries seven digits."""


def alive_by_own_mean(std: Tensor, mean: Tensor) -> Tensor:
    """Units that move by more than a millionth of their own mean: bool [d]. The rule for whatever is new.

    The answer is the same for a unit that was rescaled. Holding a unit against its largest value instead of its mean
    is the same rule: where the spread is so small, they are equal up to √n millionths.

    >>> alive_by_own_mean(torch.tensor([1e-9, 1e-9, 0.0]), torch.tensor([1e-6, 1.0, 0.0])).tolist()
    [True, False, False]
    """
    return std > LEAST_SHARE * mean.abs()


def alive_among_units(std: Tensor) -> Tensor:
    """Units that move by more than a millionth of the unit that moves most: bool [d].

    For units of one scale, such as directions of a residual stream. Elsewhere rescaling one unit by a million turns
    the answer of another; ``concept_vectors`` and ``sae_restoration`` use it on all layers, and their scores depend
    on it.

    >>> alive_among_units(torch.tensor([1e-9, 1.0])).tolist()
    [False, True]
    """
    return std > LEAST_SHARE * std.max()


def alive_at_all(std: Tensor) -> Tensor:
    """Units that are not exactly constant: bool [d]. It keeps a division from failing; rounding counts as moving.

    Scores of ``few_shot`` on images depend on it, and ``cka`` where a unit is dead on retain examples.

    >>> alive_at_all(torch.tensor([1e-9, 0.0])).tolist()
    [True, False]
    """
    return std > 0


def divisor(std: Tensor, alive: Tensor, dead: float = 1.0) -> Tensor:
    """What to divide by, [d].

    Args:
        std: spreads, [d].
        alive: by one of the rules, bool [d].
        dead: what dead units are divided by: 1 leaves them as small as they are, infinity makes them 0.

    >>> divisor(torch.tensor([2.0, 1e-9]), torch.tensor([True, False])).tolist()
    [2.0, 1.0]
    """
    return torch.where(alive, std, dead)


def factor(std: Tensor, alive: Tensor) -> Tensor:
    """What to multiply by, [d]: 1/spread, and 0 for dead units.

    It is no division by :func:`divisor` with infinity: that rounds once and this twice, so that the last digits differ.

    >>> factor(torch.tensor([2.0, 0.0]), torch.tensor([True, False])).tolist()
    [0.5, 0.0]
    """
    return torch.where(alive, 1 / std, 0.0)


@dataclass(frozen=True, slots=True)
class Scaling:
    """x ↦ (x − mean)/std along the unit axis: the last, or axis 1 of convolutional maps.

    Attributes:
        mean: [d].
        std: [d], what is divided by; see :func:`divisor`.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def among_units(cls, rows: Tensor) -> "Scaling":
        """Give rows [n, d] mean 0 and spread 1; a unit dead by :func:`alive_among_units` is only shifted.

        >>> Scaling.among_units(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))(torch.tensor([[2.0, 6.0]])).tolist()
        [[0.0, 1.0]]
        """
        mean, std = rows.mean(0), rows.std(0)
        return cls(mean, divisor(std, alive_among_units(std)))

    def __call__(self, activation: Tensor) -> Tensor:
        """Apply it to [n, d], [n, tokens, d] or [n, d, h, w], shape kept."""
        shape = (-1, 1, 1) if activation.ndim == 4 else (-1,)
        return (activation - self.mean.view(shape)) / self.std.view(shape)


def z_scores(values: Tensor) -> Tensor:
    """One number for each of many things [n] with mean 0 and spread 1, so that several such can be added.

    >>> z_scores(torch.tensor([1.0, 2.0, 3.0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    return (values - values.mean()) / values.std().clamp_min(1e-30)
