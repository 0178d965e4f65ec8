"""What one pass over one set leaves behind; every probe reads it."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CustomRecording:
    """Scores and features of one model on one set.

    Attributes:
        scores: by the user's class, higher is more knowledge, float64 [n].
        right: whether, or how much, the model is right about each example, float64 [n] in [0, 1].
        features: by layer, float32 [n, width]; empty where the class gives none.
    """

    scores: Tensor
    right: Tensor
    features: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.scores)
