"""The small convolutional network of the digits world. It needs torch alone, so the demo copies this file."""

from torch import Tensor, nn


class DigitsNet(nn.Module):
    """Two convolutions and four linear maps with ReLU between, for images [n, 1, 8, 8] in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        )
        # Three layers below the head: a shallower network gives `few_shot` less gap (benchmarks/README.md).
        self.hidden = nn.Sequential(
            nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU()
        )
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, 10]."""
        features: Tensor = self.hidden(self.convolutions(images).flatten(1))
        logits: Tensor = self.head(features)
        return logits


def build() -> nn.Module:
    """A fresh network; its initial weights come from torch's global seed."""
    return DigitsNet()
