"""Other architectures for the digits world: a small residual network and a small vision transformer."""

import torch
from torch import Tensor, nn

from auditor.zoo.digits_net import DigitsNet

_WIDTH = 16  # small: the tests hold every network of this file to 60,000 weights
_TOKENS, _PATCH = 16, 2
_EMBEDDING, _HEADS = 48, 4


class _Residual(nn.Module):
    """Two convolutions with batch normalisation and a way around them (He et al. 2016)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        # No bias: the normalisation after it would subtract it again.
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        # A module, not a function: hooks open a network between modules only.
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.around: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.around = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        through = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        out: Tensor = self.relu2(through + self.around(x))
        return out


class DigitsResNet(nn.Module):
    """A stem, three residual blocks and two linear maps, for images [n, 1, 8, 8] in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, _WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(_WIDTH), nn.ReLU())
        self.blocks = nn.Sequential(
            _Residual(_WIDTH, _WIDTH, 1), _Residual(_WIDTH, 2 * _WIDTH, 2), _Residual(2 * _WIDTH, 2 * _WIDTH, 1)
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.hidden = nn.Sequential(nn.Linear(8 * _WIDTH, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, 10]."""
        logits: Tensor = self.head(self.hidden(self.pool(self.blocks(self.stem(images)))))
        return logits


class _Attention(nn.Module):
    """Self-attention whose maps are submodules of their own."""

    def __init__(self) -> None:
        super().__init__()
        # Four maps, not one fused: value and output form a pair whose units can be rescaled, and are found as such.
        self.query = nn.Linear(_EMBEDDING, _EMBEDDING)
        self.key = nn.Linear(_EMBEDDING, _EMBEDDING)
        self.value = nn.Linear(_EMBEDDING, _EMBEDDING)
        self.out = nn.Linear(_EMBEDDING, _EMBEDDING)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            part(tokens).unflatten(2, (_HEADS, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class _Block(nn.Module):
    """Attention, then two linear maps with GELU between, each after a normalisation and with a way around it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(_EMBEDDING)
        self.attention = _Attention()
        self.norm2 = nn.LayerNorm(_EMBEDDING)
        self.mlp = nn.Sequential(
            nn.Linear(_EMBEDDING, 2 * _EMBEDDING), nn.GELU(), nn.Linear(2 * _EMBEDDING, _EMBEDDING)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.norm1(tokens))
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class _Patches(nn.Module):
    """Patches of 2x2 pixels as tokens, a class token before them, positions added (Dosovitskiy et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(1, _EMBEDDING, _PATCH, _PATCH)
        # Empty until drawn: `fresh_like` calls the same function to draw them again.
        self.first = nn.Parameter(torch.empty(1, 1, _EMBEDDING))
        self.positions = nn.Parameter(torch.empty(1, 1 + _TOKENS, _EMBEDDING))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the class token and the positions; the projection draws its own."""
        nn.init.normal_(self.first, std=0.02)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.project(images).flatten(2).transpose(1, 2)
        tokens: Tensor = torch.cat([self.first.expand(len(images), -1, -1), patches], dim=1) + self.positions
        return tokens


class _FirstToken(nn.Module):
    """The class token, [n, embedding]."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0]


class DigitsViT(nn.Module):
    """Two blocks over 17 tokens, for images [n, 1, 8, 8] in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = _Patches()
        self.blocks = nn.Sequential(_Block(), _Block())
        self.norm = nn.LayerNorm(_EMBEDDING)
        # A module, so that the vector after the blocks is a place where the network can be cut.
        self.first = _FirstToken()
        self.hidden = nn.Sequential(nn.Linear(_EMBEDDING, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, 10]."""
        logits: Tensor = self.head(self.hidden(self.first(self.norm(self.blocks(self.patches(images))))))
        return logits


ARCHITECTURES: dict[str, type[nn.Module]] = {"cnn": DigitsNet, "resnet": DigitsResNet, "vit": DigitsViT}
"""By name; each called without arguments makes a fresh network from torch's global seed."""
