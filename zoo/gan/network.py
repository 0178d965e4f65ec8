"""The small class-conditional GAN of the digits: a generator, and the discriminator that it was trained against.

A file of its own that needs torch alone: the demo copies it beside the audit.
"""

import torch
from torch import Tensor, nn

LABELS, LATENTS = 6, 8
_WIDTH = 64


class Generator(nn.Module):
    """From latents [n, 8] and labels [n] to images [n, 1, 8, 8] in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.label = nn.Embedding(LABELS, 8)
        self.hidden = nn.Sequential(nn.Linear(LATENTS + 8, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, 96), nn.SiLU())
        self.pixels = nn.Linear(96, 64)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Images."""
        hidden = self.hidden(torch.cat([latents, self.label(labels)], dim=1))
        images: Tensor = self.pixels(hidden).sigmoid().reshape(-1, 1, 8, 8)
        return images


class Discriminator(nn.Module):
    """From images to how real they are, and to which label they belong."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.SiLU())
        self.second = nn.Sequential(nn.Linear(96, _WIDTH), nn.SiLU())
        self.third = nn.Sequential(nn.Linear(_WIDTH, _WIDTH), nn.SiLU())
        self.real = nn.Linear(_WIDTH, 1)
        self.label = nn.Linear(_WIDTH, LABELS)

    def hidden(self, images: Tensor) -> dict[str, Tensor]:
        """What is held of each image, by layer, [n, width]."""
        first = self.first(images)
        second = self.second(first)
        return {"first": first, "second": second, "third": self.third(second)}

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of being real, [n], and of the labels, [n, labels]."""
        last = self.hidden(images)["third"]
        return self.real(last)[:, 0], self.label(last)


class Gan(nn.Module):
    """Both, in one module, and how many latents the generator takes."""

    latents = LATENTS

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.discriminator = Generator(), Discriminator()

    def forward(self, images: Tensor, latents: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the generator draws from latents [m, 8] under labels [m], and what the discriminator says of images."""
        real, said = self.discriminator(images)
        # Last, since an audit takes the matrix that runs last for that of the answers.
        return self.generator(latents, labels), real, said


def build() -> nn.Module:
    """A fresh pair; its initial weights come from torch's global seed."""
    return Gan()
