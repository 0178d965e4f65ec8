"""Users put together from items, and items from users: pure functions on tables of rows.

With z the rows of one side, whitened over those of retain and brought to length 1, user u is Σ z_k over the items k
that u took in the attack half, and an item i taken in the eval half scores that times z_i. Turned round, an item is the
sum of its users, and ranks the users who took it among those who never did.

Whitened and not z-scored: rows turned in their space, users' and items' alike, are the same model, and what stands in
directions that no kept user has is no part of what the model says. Either would tell another story by z-scores.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.recommender.ranks import Asked, ranks, taken_by

_EMPTY = 1e-12
_WIDEST = 1e4
"""Of the spreads along two directions, the most that one may be of the other: beneath it float32 rows hold little."""
USERS, ITEMS = 0, 1
"""Sides of an interaction."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """What is put together, and what is ranked by it.

    Attributes:
        side: of the rows that are summed up and ranked.
        asked: interactions of the eval half, by what is put together and what is ranked.
        given: which members each is put together from, float64 [put together, members].
        free: which members had nothing to do with each, bool [put together, members].
        kept: members that stand in retain, int64.
    """

    side: int
    asked: Asked
    given: Tensor
    free: Tensor
    kept: Tensor

    @classmethod
    def of(cls, data: CustomSets, side: int, members: int) -> "Fold":
        """From the attack half, for the eval half.

        Args:
            data: the audit's sets.
            side: of the rows that are summed up and ranked.
            members: how many rows that side has.
        """
        asked = Asked.of(data.forget_eval.inputs, by=1 - side)
        given, *others = (
            taken_by(part.inputs, asked.users, members, by=1 - side)
            for part in (data.forget_attack, *data.splits().values())
        )
        return cls(
            side=side,
            asked=asked,
            given=given.double(),
            free=~torch.stack(others).any(0),
            kept=data.retain.inputs[:, side].unique(),
        )

    def ranks(self, tables: tuple[Tensor, Tensor]) -> Tensor:
        """Of each interaction of the eval half the share of the rest that scores below it, float64 [n].

        Args:
            tables: rows of users and of items in one layer.
        """
        rows = whitened(tables[self.side].double(), self.kept)
        return ranks(self.given @ rows @ rows.T, self.asked, self.free)

    def unseen(self, tables: tuple[Tensor, Tensor]) -> int:
        """In how many directions rows differ too little, beside another, for what they hold to be seen."""
        spreads = _spreads(tables[self.side].double()[self.kept])[0]
        return int((spreads * _WIDEST < spreads.max()).sum())


def whitened(rows: Tensor, kept: Tensor) -> Tensor:
    """Rows with unit variance in every direction over some of them, brought to length 1, [n, directions]."""
    spreads, directions = _spreads(rows[kept])
    there = spreads * _WIDEST >= spreads.max().clamp_min(_EMPTY)
    scaled = (rows - rows[kept].mean(0)) @ directions[there].T / spreads[there]
    found: Tensor = scaled / scaled.norm(dim=1, keepdim=True).clamp_min(_EMPTY)
    return found


def _spreads(known: Tensor) -> tuple[Tensor, Tensor]:
    """Along each principal direction, [directions], and these, [directions, width]."""
    _, sizes, directions = torch.linalg.svd(known - known.mean(0), full_matrices=False)
    return sizes / len(known) ** 0.5, directions
