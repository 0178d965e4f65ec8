"""Users put together from items, and items from users: pure functions on tables of rows.

With z the rows of one side, z-scored over those of retain and brought to length 1, user u is Σ z_k over the items k
that u took in the attack half, and an item i taken in the eval half scores that times z_i. Turned round, an item is the
sum of its users, and ranks the users who took it among those who never did.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.recommender.ranks import Asked, ranks, taken_by

_EMPTY = 1e-12
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
        rows = unit(tables[self.side].double(), self.kept)
        return ranks(self.given @ rows @ rows.T, self.asked, self.free)


def unit(rows: Tensor, kept: Tensor) -> Tensor:
    """Rows z-scored over some of them and brought to length 1, [n, width]."""
    known = rows[kept]
    spread = known.std(0, correction=0)
    scaled = (rows - known.mean(0)) / torch.where(spread > _EMPTY, spread, torch.inf)
    found: Tensor = scaled / scaled.norm(dim=1, keepdim=True).clamp_min(_EMPTY)
    return found
