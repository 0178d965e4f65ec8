"""The small convolutional network of the digits world. It needs torch alone, so the demo copies this file."""

import torch
from torch import Tensor, nn


class DigitsNet(nn.Module):
    """Two convolutions and two linear maps with ReLU between, for images [n, 1, 8, 8] in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.hidden = nn.Linear(32 * 4 * 4, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, 10]."""
        x = torch.relu(self.conv1(images))
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.head(torch.relu(self.hidden(x.flatten(1))))


def build() -> nn.Module:
    """A fresh network; its initial weights come from torch's global seed."""
    return DigitsNet()
