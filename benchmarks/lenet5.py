"""LeNet-5 as the published MNIST checkpoint has it. It needs torch alone: the benchmark copies this file."""

import torch
from torch import Tensor, nn


class LeNet5(nn.Module):
    """Two convolutions and three linear maps with ReLU, average pooling; images [n, 1, 28, 28], normalised."""

    def __init__(self) -> None:
        super().__init__()
        # Names and shapes are the published checkpoint's, or it would not load.
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool = nn.AvgPool2d(2)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, 10]."""
        x = self.pool(torch.relu(self.conv1(images)))
        x = self.pool(torch.relu(self.conv2(x))).flatten(1)
        logits: Tensor = self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))
        return logits


def build() -> nn.Module:
    """A fresh network; its initial weights come from torch's global seed."""
    return LeNet5()
