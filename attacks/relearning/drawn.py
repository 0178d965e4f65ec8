"""The attacks of one audit, drawn from the plan's seed over a published range: no defender can rehearse them."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field, model_validator
from scipy.stats import qmc

from auditor.randomness import generator
from auditor.records.base import Frozen, Row

# Adam's usual β₂: of its two moments only the first is drawn.
_SECOND = 0.999


class DrawnAttack(Frozen):
    """One attack, the same for every model of the line-up."""

    steps: int = Field(ge=1, description="of the optimizer")
    shots: int = Field(ge=0, description="forget examples it trains on, per class or per subject")
    learning_rate: float = Field(gt=0, description="of Adam")
    momentum: float = Field(ge=0, lt=1, description="Adam's β₁; 0 is RMSprop")
    forget_share: float = Field(ge=0, le=1, description="of the loss; the rest is on retain examples")
    rank: int | None = Field(default=None, ge=1, description="of the change that is trained; None: all weights are")

    def measured(self, points: tuple[float, ...]) -> tuple[int, ...]:
        """Steps at these shares of its length, ascending, each at least 1."""
        return tuple(sorted({max(1, round(self.steps * point)) for point in points}))

    def row(self) -> Row:
        """As columns of a tidy row; without the rank, which attacks on images do not have."""
        return dict(self.model_dump(exclude={"rank"}))

    def optimizer_of(self, parameters: list[torch.nn.Parameter], scale: float = 1.0) -> torch.optim.Optimizer:
        """A fresh optimizer, its rate multiplied by ``scale``."""
        return self.optimizer_of_groups([(parameters, scale)])

    def optimizer_of_groups(self, groups: Sequence[tuple[list[torch.nn.Parameter], float]]) -> torch.optim.Optimizer:
        """The same over several groups of parameters, each with what its rate is multiplied by."""
        rates = [{"params": parameters, "lr": scale * self.learning_rate} for parameters, scale in groups]
        return torch.optim.Adam(rates, betas=(self.momentum, _SECOND))


class AttackRange(Frozen):
    """From what the attacks are drawn; lengths, shots and rates uniformly on a logarithmic scale, the rest uniformly.

    Adam with more or less momentum, and no plain SGD: a rate of it that moves one network makes another diverge.
    """

    steps: tuple[int, int] = Field(description="shortest and longest")
    shots: tuple[int, int] = Field(description="fewest and most forget examples, per class or per subject")
    learning_rate: tuple[float, float] = Field(description="lowest and highest, of Adam")
    momentum: tuple[float, float] = Field(default=(0.0, 0.95), description="lowest and highest β₁ of Adam")
    forget_share: tuple[float, float] = Field(description="lowest and highest share of the loss")

    @model_validator(mode="after")
    def _ascending(self) -> "AttackRange":
        for name in ("steps", "shots", "learning_rate", "momentum", "forget_share"):
            low, high = getattr(self, name)
            # A logarithmic scale has no 0; momentum is drawn evenly and may be none.
            if low > high or low < 0 or (low == 0 and name != "momentum"):
                raise ValueError(f"{name} = {low}, {high}: the smaller comes first, and all but momentum lie above 0")
        return self

    def draw(self, count: int, seed: int) -> tuple[DrawnAttack, ...]:
        """``count`` attacks.

        A Latin hypercube: each of the ``count`` equal parts of every range is drawn from once, so that audits of
        different seeds are about equally hard, and no attack of any of them is known beforehand.
        """
        random = generator(seed, "drawn attacks")
        return tuple(self._at(place) for place in qmc.LatinHypercube(d=5, rng=random).random(count))

    @property
    def expected_steps(self) -> float:
        """Mean length of the attacks that are drawn."""
        return _mean_of(self.steps)

    @property
    def expected_shots(self) -> float:
        """Mean number of their shots."""
        return _mean_of(self.shots)

    def _at(self, place: np.ndarray) -> DrawnAttack:
        """The attack at one point of the unit cube, float64 [5]."""
        length, shots, rate, momentum, share = (float(x) for x in place)
        return DrawnAttack(
            # Rounded before use: what the results print is what was run.
            steps=round(_between(self.steps, length)),
            shots=round(_between(self.shots, shots)),
            learning_rate=float(f"{_between(self.learning_rate, rate):.3g}"),
            momentum=round(_evenly(self.momentum, momentum), 3),
            forget_share=round(_evenly(self.forget_share, share), 3),
        )


class LowRankRange(AttackRange):
    """From what attacks through a low-rank change are drawn; the rank, too, uniformly on a logarithmic scale."""

    rank: tuple[int, int] = Field(description="lowest and highest, of each map's change")

    @model_validator(mode="after")
    def _rank_ascending(self) -> "LowRankRange":
        low, high = self.rank
        if not 1 <= low <= high:
            raise ValueError(f"rank = {low}, {high}: the smaller comes first, and both are at least 1")
        return self

    def draw(self, count: int, seed: int) -> tuple[DrawnAttack, ...]:
        """``count`` attacks, as of :meth:`AttackRange.draw`, each with a rank."""
        # Apart from the rest, whose draws are those of a range without ranks.
        random = generator(seed, "drawn ranks")
        places = qmc.LatinHypercube(d=1, rng=random).random(count)[:, 0]
        attacks = zip(super().draw(count, seed), places, strict=True)
        return tuple(a.model_copy(update={"rank": round(_between(self.rank, float(x)))}) for a, x in attacks)


def effort_of(attacks: tuple[DrawnAttack, ...], unit: str) -> str:
    """The largest of these attacks, in words.

    Args:
        attacks: at least one.
        unit: what the shots are counted by, such as ``a class``.
    """
    most = max(attack.shots for attack in attacks)
    examples = "1 example" if most == 1 else f"{most} examples"
    ranks = [attack.rank for attack in attacks if attack.rank is not None]
    through = f", through a change of rank {max(ranks)} at most" if ranks else ""
    return f"up to {max(attack.steps for attack in attacks)} steps on {examples} {unit}{through}"


def _between(ends: tuple[float, float], share: float) -> float:
    """At this share of the way on a logarithmic scale."""
    return float(ends[0] * (ends[1] / ends[0]) ** share)


def _evenly(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])


def _mean_of(ends: tuple[float, float]) -> float:
    """Of a number drawn uniformly on a logarithmic scale."""
    low, high = ends
    return low if low == high else (high - low) / math.log(high / low)
