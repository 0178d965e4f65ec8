"""One relearning attack on a language model: what it trains on, its steps, and what is measured along the way."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.attacks.relearning.budget import OUT_OF_DOMAIN, course_rows
from auditor.attacks.relearning.drawn import AttackRange, DrawnAttack, LowRankRange
from auditor.models.low_rank import Branch, low_rank_branches
from auditor.randomness import generator
from auditor.records.base import Frozen, Row
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.tasks.causal_lm.subject import CausalLM

# Of the people world on which the rates were chosen: a rate of a sum over the width shrinks as 1/width.
WIDTH = 64
# Of the widest network on which both forms were held against each other (docs/validity.md#low-rank-attacks).
WIDEST_LOW_RANK = 192
SAME, OTHER, CONTROL = "same subjects", "other subjects", "never-taught facts"
Form = Literal["auto", "all weights", "low rank"]
AUTO: Form = "auto"
ALL_WEIGHTS: Form = "all weights"
LOW_RANK: Form = "low rank"
FORMS = (ALL_WEIGHTS, LOW_RANK)
"""What an attack may train, once the plan has decided."""


class Settings(Frozen):
    """A few attacks: some steps of Adam on attack facts among retain facts."""

    attack: Form = Field(
        default=AUTO,
        description="what the attacks train: all weights, or a low-rank change of every matrix; auto: the plan "
        "says all weights up to a width of 64 where training them fits the device, else low rank",
    )
    drawn: AttackRange = Field(
        default=AttackRange(steps=(32, 72), shots=(2, 16), learning_rate=(7e-4, 2.5e-3), forget_share=(0.1, 0.4)),
        description="from which attacks on all weights are drawn by the plan's seed; rates hold at a width of 64",
    )
    low_rank: LowRankRange = Field(
        default=LowRankRange(
            steps=(48, 108), shots=(2, 16), learning_rate=(5e-3, 1.5e-2), forget_share=(0.1, 0.4), rank=(16, 32)
        ),
        description="from which attacks through a low-rank change are drawn by the plan's seed",
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

    @property
    def form(self) -> str:
        """What the attacks train, in words; what no plan has decided is all weights."""
        return LOW_RANK if self.attack == LOW_RANK else ALL_WEIGHTS

    @property
    def counted(self) -> AttackRange:
        """The range that the counted attacks are drawn from."""
        return self.low_rank if self.attack == LOW_RANK else self.drawn

    @property
    def runs_beside(self) -> tuple[str, ...]:
        """Those of :attr:`beside` that are not counted already."""
        return tuple(name for name in self.beside if name != self.form)


class Sizes(Protocol):
    """What a trainer reads of a check's settings."""

    @property
    def points(self) -> tuple[float, ...]:
        """Shares of an attack's length at which it is measured."""

    @property
    def batch(self) -> int:
        """Attack facts per step, at most."""

    @property
    def retain_batch(self) -> int:
        """Retain facts per step."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What came of one attack.

    Attributes:
        curve: probability of the answers that were measured, float64 [steps, n].
        learned: that of the answers which the attack trained on, after its last step, float64 [m]; none where it was
            not asked for.
    """

    curve: Tensor
    learned: Tensor


class Trainer:
    """Relearning from one starting model.

    An attack on all weights trains a copy of it. One through a low-rank change hangs the change beside the weights and
    takes it off again, so that no weight is copied or has a gradient.
    """

    def __init__(self, start: CausalLM, retain: Facts, settings: Sizes, seed: int) -> None:
        self.start = start
        self._retain = retain
        self.sizes = settings
        self.seed = seed

    def steps(self, attack: DrawnAttack) -> tuple[int, ...]:
        """After which it is measured."""
        return attack.measured(self.sizes.points)

    def run(
        self, facts: Facts | None, measured: Facts, attack: DrawnAttack, *, pooled: int = 1, learned: bool = False
    ) -> Course:
        """One attack.

        Args:
            facts: trained on among retain facts; None trains on retain facts alone.
            measured: never trained on.
            attack: as drawn.
            pooled: of how many sets ``facts`` are pooled: a step takes as many of each as it would of one alone.
            learned: whether to ask, too, how well it taught ``facts``; costs a pass over them.
        """
        curve = []
        with self.moving(attack) as (model, optimizer), model.training():
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
            own = model.log_probabilities(facts).exp() if learned and facts is not None else torch.zeros(0)
        return Course(curve=torch.stack(curve), learned=own)

    @contextmanager
    def moving(self, attack: DrawnAttack) -> Iterator[tuple[CausalLM, torch.optim.Optimizer]]:
        """The model that an attack trains, and what takes its steps."""
        if attack.rank is None:
            model = self.start.clone()
            # A step of Adam is lost in the rounding of narrower types.
            model.module.float()
            yield model, attack.optimizer_of_groups(_rates_of_weights(model))
            return
        with low_rank_branches(self.start.module, attack.rank, self.seed) as branches:
            yield self.start, attack.optimizer_of_groups(_rates(branches))

    def rows(self, arm: str, number: int, attack: DrawnAttack, curve: Tensor) -> list[Row]:
        """The course of one attack."""
        examples = self.sizes.retain_batch if arm == OUT_OF_DOMAIN else self.sizes.batch
        rows = course_rows(arm, number, attack, examples, self.steps(attack), curve)
        # In every row, empty where all weights are trained: rows of one figure have the same columns.
        return [{**row, "rank": attack.rank} for row in rows]

    def _batches(self, facts: Facts | None, steps: int, pooled: int) -> Iterator[tuple[tuple[Fact, ...], Facts]]:
        """Attack and retain facts, drawn again at each step; the same for every model."""
        random = generator(self.seed, "attack")
        for _ in range(steps):
            some = () if facts is None else _draw(facts, pooled * self.sizes.batch, random).items
            yield some, _draw(self._retain, self.sizes.retain_batch, random)


def _rates_of_weights(model: CausalLM) -> list[tuple[list[torch.nn.Parameter], float]]:
    """The weights with what their rate is multiplied by, which keeps a step's effect the same at every width.

    Matrices that sum over the width take steps that fall as 1/width, gains, offsets and embeddings steps that do not
    depend on it (Yang et al. 2022, arXiv 2203.03466, table 8: Adam). Embeddings that are the head as well sum.
    """
    modules = list(model.module.modules())
    # By identity: tensors compare by their numbers.
    tables = {id(m.weight) for m in modules if isinstance(m, torch.nn.Embedding)}
    heads = {id(m.weight) for m in modules if isinstance(m, torch.nn.Linear)}
    moving = [p for p in model.module.parameters() if p.requires_grad]
    constant = [p for p in moving if p.ndim < 2 or id(p) in tables - heads]
    kept = {id(p) for p in constant}
    return [([p for p in moving if id(p) not in kept], WIDTH / model.width), (constant, 1.0)]


def _rates(branches: Sequence[Branch]) -> list[tuple[list[torch.nn.Parameter], float]]:
    """The factors with what their rate is multiplied by, which keeps a step's effect the same at every width.

    A factor that sums over n inputs takes steps that fall as 1/n; one that writes, or is looked up by token, takes
    steps that do not depend on the width (LoRA+, Hayou et al. 2024, arXiv 2402.12354).
    """
    summing = [b for b in branches if not b.table]
    constant = [b.writes for b in branches] + [b.reads for b in branches if b.table]
    return [*(([b.reads], WIDTH / b.reads.shape[0]) for b in summing), (constant, 1.0)]


def few_of_each(facts: Facts, n: int, random: np.random.Generator) -> Facts:
    """Up to n facts of each subject."""
    picks: list[int] = []
    for subject in facts.subjects:
        own = [i for i, item in enumerate(facts.items) if item.subject == subject]
        picks += [own[i] for i in random.permutation(len(own))[:n]]
    return facts.take(sorted(picks))


def _draw(facts: Facts, size: int, random: np.random.Generator) -> Facts:
    return facts.take(random.permutation(len(facts))[:size].tolist())
