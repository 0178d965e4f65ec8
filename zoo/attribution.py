"""Weights by what they do to forgetting while retain is held (WAGLE, Jia et al. 2024, arXiv 2410.17509)."""

from collections.abc import Sequence

import torch
from torch import Tensor


def attributed(
    weights: Sequence[Tensor],
    forget: Sequence[Tensor],
    retain: Sequence[Tensor],
    *,
    curvature: float,
    share: float,
) -> list[Tensor]:
    """Bool masks, shaped like the weights, of the share with the largest scores.

    The paper lets a weight's size respond to the retain loss, whose Hessian is γ times the identity. The score of a
    weight w is then f · (w − r/γ), f and r its gradients of the forget and of the retain loss.

    Args:
        weights: of the original.
        forget: gradients of the loss that unlearning descends, in the same order.
        retain: gradients of the retain loss.
        curvature: γ, above 0.
        share: of all weights together, above 0 and at most 1.
    """
    # By size: a weight matters whichever way it moves the forget loss.
    scores = [(f * (w.detach() - r / curvature)).abs() for w, f, r in zip(weights, forget, retain, strict=True)]
    return largest(scores, share)


def largest(scores: Sequence[Tensor], share: float) -> list[Tensor]:
    """Bool masks of the largest scores, counted over all tensors together."""
    everything = torch.cat([score.flatten() for score in scores])
    # One threshold over all layers: shares by layer would force changes into layers that do not matter.
    chosen = torch.zeros(len(everything), dtype=torch.bool)
    chosen[everything.topk(max(1, round(share * len(everything)))).indices] = True
    pieces = chosen.split([score.numel() for score in scores])
    return [piece.view_as(score) for piece, score in zip(pieces, scores, strict=True)]
