"""A small LightGCN (He et al. 2020, arXiv 2002.02126). It needs torch alone, so the demo copies this file.

Each user and each item has a row of numbers, E⁰. With A the graph of who took what and D its degrees, layers are
E^(k+1) = D^(−1/2) A D^(−1/2) E^k, what is read is their mean, and a user's score of an item is the product of their
rows. There are no other weights. The graph is data, and it is kept in the state dict: a model brings its own graph with
it.
"""

import torch
from torch import Tensor, nn


class LightGCN(nn.Module):
    """Scores of items for users.

    Args:
        users: how many.
        items: how many.
        width: of a row.
        layers: how often rows are spread over the graph.
    """

    made: Tensor

    def __init__(self, users: int, items: int, width: int = 32, layers: int = 2) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(users, width), nn.Embedding(items, width)
        self.layers = layers
        # Bool: an interaction is there or it is not. One shape for every model of these users and items.
        self.register_buffer("made", torch.zeros(users, items, dtype=torch.bool))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small rows, drawn again; the graph stays."""
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1)

    def connect(self, pairs: Tensor) -> None:
        """Make the graph of these interactions alone, int64 [n, 2]: a user and an item each."""
        self.made.zero_()
        self.made[pairs[:, 0], pairs[:, 1]] = True

    def tables(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Rows of users and of items by layer, [users, width] and [items, width], and what is read of them at last."""
        graph = self.made.to(self.users.weight.dtype)
        # A row that nothing is connected to has no degree, and nothing is spread to it.
        by_user, by_item = (graph.sum(axis).clamp_min(1).rsqrt() for axis in (1, 0))
        graph = by_user[:, None] * graph * by_item
        rows = [(self.users.weight, self.items.weight)]
        for _ in range(self.layers):
            users, items = rows[-1]
            rows.append((graph @ items, graph.T @ users))
        users, items = (torch.stack(side).mean(0) for side in zip(*rows, strict=True))
        return {**{f"layer {k}": pair for k, pair in enumerate(rows)}, "readout": (users, items)}

    def forward(self, users: Tensor) -> Tensor:
        """The score of every item for each of these users, [n, items]."""
        own, items = self.tables()["readout"]
        return own[users] @ items.T


def build(users: int, items: int, width: int = 32, layers: int = 2) -> nn.Module:
    """A fresh network without a graph; its rows come from torch's global seed."""
    return LightGCN(users, items, width, layers)
