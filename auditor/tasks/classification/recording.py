"""What one forward pass over one split leaves behind; every probe reads it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Outputs and pooled activations of one model on one split.

    Attributes:
        labels: int64 [n].
        logits: float32 [n, classes].
        features: by layer, float32 [n, width]; maps averaged over positions, token states over tokens.
    """

    labels: Tensor
    logits: Tensor
    features: Mapping[str, Tensor]

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    @property
    def correct(self) -> Tensor:
        """Whether the top class is the label, bool [n]."""
        return self.logits.argmax(1) == self.labels

    @property
    def losses(self) -> Tensor:
        """Cross-entropy of each example, float64 [n]."""
        return torch.nn.functional.cross_entropy(self.logits.double(), self.labels, reduction="none")

    @property
    def margins(self) -> Tensor:
        """Logit-scaled confidence φ = log p_y − log Σ_{k≠y} p_k, float64 [n] (Carlini et al. 2022, §4)."""
        # From logits in float64: of a confident model 1 − p is 0 in float32, and its logarithm −∞.
        logits = self.logits.double()
        own = logits.gather(1, self.labels[:, None])[:, 0]
        rest = logits.scatter(1, self.labels[:, None], -torch.inf).logsumexp(1)
        return own - rest


def pool(activation: Tensor) -> Tensor:
    """One float32 vector per example: [n, c, h, w] over positions, [n, tokens, d] over tokens, [n, d] as is."""
    if activation.ndim == 4:
        activation = activation.mean(dim=(2, 3))
    elif activation.ndim == 3:
        activation = activation.mean(dim=1)
    return activation.detach().flatten(1).float()
