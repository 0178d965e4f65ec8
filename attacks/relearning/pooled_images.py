"""One attack on images that a model may have been taught and on those that chance kept from it, at once.

Forget and holdout examples make one pool, in an order that does not tell which is which. Half of it is attacked and the
other half measured, then the other way round: so that the number of every example follows from the pool and the seed
alone. Had chance divided the pool otherwise, each example of a model that knows nothing of the draw would have the
very same number.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from auditor.attacks.relearning.arms import AS_IS
from auditor.attacks.relearning.attack_validity import TAKEN, resists
from auditor.attacks.relearning.budget import course_row
from auditor.attacks.relearning.drawn import DrawnAttack
from auditor.attacks.relearning.image_attack import Trainer
from auditor.errors import UsageError
from auditor.randomness import derive_seed
from auditor.records.base import Row
from auditor.records.score import Sides
from auditor.tasks.classification.sets import AuditData, Examples, attack_half, joined
from auditor.tasks.classification.sides import by_subject, held_out
from auditor.tasks.classification.subject import Classifier
from auditor.tasks.drawing import LEAST

HELD_OUT = "holdout examples"
NOUN = "examples"


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Forget and holdout together.

    Attributes:
        examples: in an order that hangs on their content alone.
        sources: which of forget and holdout, one after the other, stands at each place, int64 [n + m].
        forget: the sides, in their own order.
        holdout: likewise.
    """

    examples: Examples
    sources: Tensor
    forget: Examples
    holdout: Examples

    @classmethod
    def of(cls, data: AuditData) -> "Pool":
        """The pool that chance divided."""
        both = joined(data.forget, held_out(data))
        keys = list(zip(both.content_hashes, both.labels.tolist(), strict=True))
        sources = torch.tensor(sorted(range(len(both)), key=keys.__getitem__))
        return cls(examples=both.take(sources), sources=sources, forget=data.forget, holdout=held_out(data))

    @property
    def is_forget(self) -> Tensor:
        """Which places hold forget examples, bool [n + m]."""
        return self.sources < len(self.forget)

    def by_side(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Of forget and of holdout examples, in their own order, what stands at each place."""
        found = torch.empty_like(values)
        found[self.sources] = values
        return found[: len(self.forget)], found[len(self.forget) :]

    @property
    def times_forget(self) -> int:
        """How many examples there are for each forget example, rounded."""
        return round(len(self.examples) / len(self.forget))


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """What came of the attacks.

    Attributes:
        pool: what was attacked.
        found: probability of the true label in the course of attacks that an example was no part of, by place,
            float64 [n + m].
        learned: the same after the attacks that it was part of; NaN where it was part of none.
        rows: the courses.
    """

    pool: Pool
    found: Tensor
    learned: Tensor
    rows: tuple[Row, ...]

    @cached_property
    def examples(self) -> Tensor:
        """Of every forget example, float64 [n]."""
        return self.pool.by_side(self.found)[0]

    @property
    def sides(self) -> Sides:
        """By subject on either side."""
        forget, holdout = self._of_subjects(self.found)
        return Sides(forget=forget, holdout=holdout)

    def controls(self) -> dict[str, float]:
        """How well the attacks taught either side's own examples."""
        named = zip(("own forget examples after the attacks", TAKEN), self._of_subjects(self.learned), strict=True)
        return {name: float(np.mean(side)) for name, side in named if side}

    def resists(self) -> str | None:
        """Whether the model learns forget examples worse than holdout examples, or nobody can tell, in one clause."""
        forget, holdout = self._of_subjects(self.learned)
        if min(len(forget), len(holdout)) < LEAST:
            return f"its attacks trained on fewer than {LEAST} subjects of a side, too few to see whether they took"
        return resists(Sides(forget=forget, holdout=holdout), len(self.pool.forget), NOUN)

    def _of_subjects(self, values: Tensor) -> list[tuple[float, ...]]:
        """Of forget and of holdout subjects with a number."""
        sides = zip((self.pool.forget, self.pool.holdout), self.pool.by_side(values), strict=True)
        return [by_subject(examples.take(~own.isnan()), own[~own.isnan()]) for examples, own in sides]


@dataclass(frozen=True, kw_only=True)
class Attacker:
    """Attacks one starting model, always in the same way.

    Attributes:
        start: left as it is.
        retain: examples to be kept.
        retain_batch: of them per step.
        points: shares of an attack's length at which it is measured.
        seed: decides halves, shots and batches.
    """

    start: Classifier
    retain: Examples
    retain_batch: int
    points: tuple[float, ...]
    seed: int

    def attack(self, data: AuditData, attacks: tuple[DrawnAttack, ...]) -> Pooled:
        """Every attack twice: on one half of the pool, then on the other.

        Raises:
            UsageError: no two examples have one label.
        """
        pool = Pool.of(data)
        half = attack_half(pool.examples, derive_seed(self.seed, "halves of the pool"))
        if not bool(half.any()):
            raise UsageError("forget and holdout have no two examples of one label to attack by halves; give more")
        found, learned = _Means(len(pool.examples)), _Means(len(pool.examples))
        rows: list[Row] = []
        for number, attack in enumerate(attacks, start=1):
            curve = torch.full((len(attack.measured(self.points)), len(pool.examples)), torch.nan, dtype=torch.float64)
            for own in (half, ~half):
                attacked, asked = (torch.nonzero(part)[:, 0] for part in (own, ~own))
                trainer = Trainer(
                    start=self.start,
                    pool=pool.examples.take(attacked),
                    retain=self.retain,
                    retain_batch=self.retain_batch,
                    points=self.points,
                    seed=self.seed,
                )
                # So many more shots that as many forget examples as drawn are among them, in the mean.
                wider = attack.model_copy(update={"shots": pool.times_forget * attack.shots})
                course = trainer.run(wider, number, (pool.examples.take(asked),))
                curve[:, asked] = course.curves[0]
                found.add(asked, course.curves[0].mean(0))
                learned.add(attacked[course.shots], course.learned)
            rows += self._rows(number, attack, curve, pool.is_forget)
        return Pooled(pool=pool, found=found.values(), learned=learned.values(), rows=tuple(rows))

    def _rows(self, number: int, attack: DrawnAttack, curve: Tensor, is_forget: Tensor) -> list[Row]:
        return [
            course_row(arm, number, attack, attack.shots, step, float(values[side].mean()))
            for arm, side in ((AS_IS, is_forget), (HELD_OUT, ~is_forget))
            for step, values in zip(attack.measured(self.points), curve, strict=True)
        ]


class _Means:
    """Means of numbers that come a few places at a time."""

    def __init__(self, n: int) -> None:
        self._sums = torch.zeros(n, dtype=torch.float64)
        self._counts = torch.zeros(n, dtype=torch.float64)

    def add(self, places: Tensor, values: Tensor) -> None:
        self._sums[places] += values
        self._counts[places] += 1

    def values(self) -> Tensor:
        """NaN where nothing came."""
        return self._sums / self._counts
