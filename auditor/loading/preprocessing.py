"""What is done to an image between the file and the model."""

import torch
from torch import Tensor

from auditor.records.base import Frozen


class Preprocessing(Frozen):
    """What is done to an image between the file and the model, in this order.

    Attributes:
        resize: (height, width) in pixels, bilinear with antialiasing; None keeps the size.
        mean: per channel, subtracted after integer pixels were scaled to [0, 1].
        std: per channel, divided by.
    """

    resize: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __call__(self, raw: Tensor) -> Tensor:
        """Prepare a batch, [n, channels, height, width] or any float tensor, as float32."""
        x = raw.float() / 255.0 if raw.dtype == torch.uint8 else raw.float()
        if self.resize is not None and x.ndim == 4 and tuple(x.shape[2:]) != self.resize:
            x = torch.nn.functional.interpolate(x, self.resize, mode="bilinear", antialias=True)
        if self.mean is not None:
            x = x - torch.tensor(self.mean).view(1, -1, *[1] * (x.ndim - 2))
        if self.std is not None:
            x = x / torch.tensor(self.std).view(1, -1, *[1] * (x.ndim - 2))
        return x
