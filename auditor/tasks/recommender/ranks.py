"""Where an interaction stands among those that were never made: pure functions on tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.tasks.custom.sets import CustomSets


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Interactions whose rank is asked for.

    Attributes:
        users: who made any of them, each once and sorted, int64 [users].
        rows: of each interaction the place of its user among these, int64 [n].
        items: of each interaction, int64 [n].
    """

    users: Tensor
    rows: Tensor
    items: Tensor

    @classmethod
    def of(cls, pairs: Tensor, by: int = 0) -> "Asked":
        """Of interactions [n, 2], in their order; ``by`` 1 turns users and items round."""
        users, rows = pairs[:, by].unique(return_inverse=True)
        return cls(users=users, rows=rows, items=pairs[:, 1 - by])


def taken_by(pairs: Tensor, users: Tensor, n_items: int, by: int = 0) -> Tensor:
    """Which items each user took, bool [users, items].

    Args:
        pairs: interactions, int64 [n, 2].
        users: each once, sorted, int64 [users].
        n_items: of the network.
        by: 1 turns users and items round.

    >>> taken_by(torch.tensor([[4, 1], [7, 0]]), torch.tensor([7]), 2).tolist()
    [[True, False]]
    """
    found = torch.zeros(len(users), n_items, dtype=torch.bool)
    own = pairs[torch.isin(pairs[:, by], users)]
    found[torch.searchsorted(users, own[:, by].contiguous()), own[:, 1 - by]] = True
    return found


def never_made(data: CustomSets, users: Tensor, n_items: int) -> Tensor:
    """Which items a user took in none of the audit's sets, bool [users, items]; arguments as of :func:`taken_by`."""
    parts = [taken_by(examples.inputs, users, n_items) for examples in data.splits().values()]
    return ~torch.stack(parts).any(0)


def ranks(scores: Tensor, asked: Asked, free: Tensor) -> Tensor:
    """The share of items never taken that score below the one taken, ties half, float64 [n]; 0.5 where there are none.

    Args:
        scores: of every item for each user, float64 [users, items].
        asked: the interactions.
        free: which items each user never took, bool [users, items].

    >>> asked = Asked(users=torch.tensor([4]), rows=torch.tensor([0]), items=torch.tensor([0]))
    >>> ranks(torch.tensor([[2.0, 1.0, 2.0, 9.0]]), asked, torch.tensor([[False, True, True, False]])).tolist()
    [0.75]
    """
    found = []
    # Some at a time: of each interaction a whole row of items is compared.
    for part in torch.arange(len(asked.items)).split(1024):
        rows = asked.rows[part]
        every, others = scores[rows].double(), free[rows].double()
        own = every.gather(1, asked.items[part][:, None])
        below = ((every < own).double() + 0.5 * (every == own).double()) * others
        n = others.sum(1)
        found.append(torch.where(n > 0, below.sum(1) / n.clamp_min(1), 0.5))
    return torch.cat(found)
