"""One relearning attack on a language model: what it trains on, its steps, and what is measured along the way."""

from collections.abc import Iterator

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.attacks.relearning.budget import OUT_OF_DOMAIN, course_row
from auditor.attacks.relearning.drawn import AttackRange, DrawnAttack
from auditor.models.low_rank import open_low_rank
from auditor.randomness import generator
from auditor.records.base import Frozen, Row
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.tasks.causal_lm.subject import CausalLM

# Of the people world on which the rates were chosen: a rate holds for a width, and shrinks as 1/width.
_WIDTH = 64
SAME, LOW_RANK, OTHER, CONTROL = "same subjects", "low rank", "other subjects", "never-taught facts"


class Settings(Frozen):
    """A few attacks: some steps of Adam on attack facts among retain facts."""

    drawn: AttackRange = Field(
        default=AttackRange(steps=(32, 72), shots=(2, 16), learning_rate=(7e-4, 2.5e-3), forget_share=(0.1, 0.4)),
        description="from which the attacks are drawn by the plan's seed; rates hold at a width of 64",
    )
    attacks: int = Field(default=2, ge=1, description="drawn, and averaged in the score")
    points: tuple[float, ...] = Field(
        default=(0.25, 0.5, 0.75, 1.0), description="shares of an attack's length at which it is measured"
    )
    counted_from: float = Field(default=0.5, description="share of an attack's length from which measurements count")
    batch: int = Field(default=32, ge=1, description="attack facts per step, at most")
    retain_batch: int = Field(default=32, ge=1, description="retain facts per step")
    beside: tuple[str, ...] = Field(
        default=(LOW_RANK, OTHER, OUT_OF_DOMAIN, CONTROL), description="runs that are drawn, not counted"
    )
    beside_length: float = Field(default=0.5, gt=0, le=1, description="of those runs, as a share of the first attack's")
    low_rank_rate: float = Field(default=3.0, gt=0, description="times the first attack's: of the low-rank run")
    rank: int = Field(default=4, ge=1, description="of the low-rank run")


class Trainer:
    """Relearning from one starting model."""

    def __init__(self, start: CausalLM, retain: Facts, settings: Settings, seed: int) -> None:
        self._start = start
        self._retain = retain
        self._settings = settings
        self._seed = seed

    def steps(self, attack: DrawnAttack) -> tuple[int, ...]:
        """After which it is measured."""
        return attack.measured(self._settings.points)

    def run(
        self, facts: Facts | None, measured: Facts, attack: DrawnAttack, rank: int | None = None, pooled: int = 1
    ) -> tuple[Tensor, CausalLM]:
        """Probability of the ``measured`` answers, float64 [steps, n], and the model then.

        Args:
            facts: trained on among retain facts; None trains on retain facts alone.
            measured: never trained on.
            attack: as drawn.
            rank: of the change that is trained; None trains all weights.
            pooled: of how many sets ``facts`` are pooled: a step takes as many of each as it would of one alone.
        """
        model = self._start.clone()
        if rank is not None:
            open_low_rank(model.module, rank, self._seed)
        # Of a low-rank run the factors alone.
        moving = [p for p in model.module.parameters() if p.requires_grad]
        optimizer = attack.optimizer_of(moving, scale=_WIDTH / model.width)
        curve = []
        for step, (some, kept) in enumerate(self._batches(facts, attack.steps, pooled), start=1):
            losses = model.losses(model.one_batch(Facts((*some, *kept.items))))
            share = attack.forget_share if some else 0.0
            # A sum, since the mean of no facts is NaN, which a share of 0 does not take away.
            taught_loss = losses[: len(some)].sum() / max(len(some), 1)
            optimizer.zero_grad()
            (share * taught_loss + (1 - share) * losses[len(some) :].mean()).backward()
            optimizer.step()
            if step in self.steps(attack):
                curve.append(model.log_probabilities(measured).exp())
        return torch.stack(curve), model

    def rows(self, arm: str, number: int, attack: DrawnAttack, curve: Tensor) -> list[Row]:
        """The course of one attack."""
        examples = self._settings.retain_batch if arm == OUT_OF_DOMAIN else self._settings.batch
        return [
            course_row(arm, number, attack, examples, step, float(values.mean()))
            for step, values in zip(self.steps(attack), curve, strict=True)
        ]

    def _batches(self, facts: Facts | None, steps: int, pooled: int) -> Iterator[tuple[tuple[Fact, ...], Facts]]:
        """Attack and retain facts, drawn again at each step; the same for every model."""
        random = generator(self._seed, "attack")
        for _ in range(steps):
            some = () if facts is None else _draw(facts, pooled * self._settings.batch, random).items
            yield some, _draw(self._retain, self._settings.retain_batch, random)


def few_of_each(facts: Facts, n: int, random: np.random.Generator) -> Facts:
    """Up to n facts of each subject."""
    picks: list[int] = []
    for subject in facts.subjects:
        own = [i for i, item in enumerate(facts.items) if item.subject == subject]
        picks += [own[i] for i in random.permutation(len(own))[:n]]
    return facts.take(sorted(picks))


def _draw(facts: Facts, size: int, random: np.random.Generator) -> Facts:
    return facts.take(random.permutation(len(facts))[:size].tolist())
