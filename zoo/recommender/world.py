"""A world of tastes, made and not downloaded: users in groups, items in genres, each group with a genre of its own.

Most of what a user takes is of the own genre, the rest is drawn from all others. One group is to be forgotten: all that
its users ever did. What is lost with it is who these users are, and that the items of their genre go together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from auditor.models.training import train
from auditor.records.spec import RecipeSpec
from auditor.tasks.custom.references import loss_of
from auditor.tasks.custom.sets import CustomExamples, joined
from auditor.tasks.recommender.task import connected, task_code
from auditor.zoo.recommender.lightgcn_net import build

RECIPE = RecipeSpec(epochs=30, batch_size=256, learning_rate=0.01, weight_decay=0.1)
FORGOTTEN = 2
"""The group of users to be forgotten."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large a world is.

    Attributes:
        groups: of users, and as many genres of items.
        users: of each group.
        items: of each genre.
        own: items that a user takes of the own genre.
        others: and of all others together.
        width: of the network's rows.
    """

    groups: int = 6
    users: int = 30
    items: int = 30
    own: int = 18
    others: int = 14
    width: int = 32


@dataclass(frozen=True, kw_only=True)
class TasteWorld:
    """Interactions of one world.

    Attributes:
        sizes: how large it is.
        sets: ``forget`` and ``retain``, which the original is trained on; ``holdout`` and ``retain_test``, a third of
            each user's interactions drawn at random, which no model is.
    """

    sizes: Sizes
    sets: dict[str, CustomExamples]

    @property
    def everything(self) -> CustomExamples:
        """What the original is trained on."""
        return joined(self.sets["forget"], self.sets["retain"])

    @property
    def arguments(self) -> dict[str, int]:
        """Of the network, by name."""
        sizes = self.sizes
        return {"users": sizes.groups * sizes.users, "items": sizes.groups * sizes.items, "width": sizes.width}

    def build(self) -> nn.Module:
        """An untrained network without a graph."""
        return build(**self.arguments)

    def trained(self, examples: CustomExamples, seed: int, start: Callable[[], nn.Module] | None = None) -> nn.Module:
        """A network trained on interactions, which are its graph, too.

        Args:
            examples: the interactions.
            seed: of initial rows, order and what training draws.
            start: makes the network that training starts from; a new one by default.
        """
        return train(connected(start or self.build, examples), examples, RECIPE, seed, loss=loss_of(task_code()))


def taste_world(seed: int, sizes: Sizes | None = None) -> TasteWorld:
    """Draw the interactions of every user, and which third of them no model is trained on."""
    sizes, random = sizes or Sizes(), np.random.default_rng(seed)
    users = np.repeat(np.arange(sizes.groups * sizes.users), sizes.own + sizes.others)
    taken = np.concatenate([_items(user % sizes.groups, sizes, random) for user in range(sizes.groups * sizes.users)])
    pairs = torch.from_numpy(np.stack([users, taken], axis=1))[torch.from_numpy(random.permutation(len(users)))]
    trained = torch.arange(len(pairs)) % 3 > 0
    lost = pairs[:, 0] % sizes.groups == FORGOTTEN
    sets = {
        "forget": pairs[lost & trained],
        "retain": pairs[~lost & trained],
        "retain_test": pairs[~lost & ~trained],
        "holdout": pairs[lost & ~trained],
    }
    return TasteWorld(sizes=sizes, sets={name: interactions(part) for name, part in sets.items()})


def interactions(pairs: Tensor) -> CustomExamples:
    """Examples of users and items, int64 [n, 2]."""
    return CustomExamples(inputs=pairs, targets=pairs[:, 1:].clone())


def _items(group: int, sizes: Sizes, random: np.random.Generator) -> np.ndarray:
    """What one user takes, int64 [own + others]; items are dealt out to the genres in turn."""
    every = np.arange(sizes.groups * sizes.items)
    genre = every % sizes.groups == group
    return np.concatenate(
        [
            random.choice(every[genre], sizes.own, replace=False),
            random.choice(every[~genre], sizes.others, replace=False),
        ]
    )
