"""The attacks of one audit, drawn from the plan's seed over a published range: no defender can rehearse them."""

import math

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

    def measured(self, points: tuple[float, ...]) -> tuple[int, ...]:
        """Steps at these shares of its length, ascending, each at least 1."""
        return tuple(sorted({max(1, round(self.steps * point)) for point in points}))

    def row(self) -> Row:
        """As columns of a tidy row."""
        return dict(self.model_dump())

    def optimizer_of(self, parameters: list[torch.nn.Parameter], scale: float = 1.0) -> torch.optim.Optimizer:
        """A fresh optimizer, its rate multiplied by ``scale``."""
        return torch.optim.Adam(parameters, lr=scale * self.learning_rate, betas=(self.momentum, _SECOND))


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


def effort_of(attacks: tuple[DrawnAttack, ...], unit: str) -> str:
    """The largest of these attacks, in words.

    Args:
        attacks: at least one.
        unit: what the shots are counted by, such as ``a class``.
    """
    most = max(attack.shots for attack in attacks)
    examples = "1 example" if most == 1 else f"{most} examples"
    return f"up to {max(attack.steps for attack in attacks)} steps on {examples} {unit}"


def _between(ends: tuple[float, float], share: float) -> float:
    """At this share of the way on a logarithmic scale."""
    return float(ends[0] * (ends[1] / ends[0]) ** share)


def _evenly(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])


def _mean_of(ends: tuple[float, float]) -> float:
    """Of a number drawn uniformly on a logarithmic scale."""
    low, high = ends
    return low if low == high else (high - low) / math.log(high / low)
