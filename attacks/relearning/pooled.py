"""One attack on what a model may have been taught and on what chance kept from it, at once.

Two attacks on two sets would differ by more than the sets: each run has luck of its own, which no number of facts
shows. Trained together, forget and holdout facts meet the same steps, and what comes back of either can be held
against the other on the same model.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from auditor.attacks.relearning.attack_validity import TAKEN, resists, taught, taught_name
from auditor.attacks.relearning.drawn import AttackRange, DrawnAttack
from auditor.attacks.relearning.text_attack import CONTROL, SAME, Sizes, Trainer, few_of_each
from auditor.randomness import derive_seed, generator
from auditor.records.base import Row
from auditor.records.score import Sides
from auditor.tasks.causal_lm.sets import Facts, FactsData, split_facts
from auditor.tasks.causal_lm.sides import by_subject

NOUN = "facts"


class PooledSettings(Sizes, Protocol):
    """What is read of a check's settings."""

    @property
    def counted(self) -> AttackRange:
        """The range that the attacks are drawn from."""

    @property
    def attacks(self) -> int:
        """How many are drawn."""

    @property
    def counted_from(self) -> float:
        """Share of an attack's length from which measurements count."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Facts of either side with one number each.

    Attributes:
        forget: forget facts.
        holdout: holdout facts.
        of_forget: float64 [n].
        of_holdout: float64 [m].
    """

    forget: Facts
    holdout: Facts
    of_forget: Tensor
    of_holdout: Tensor


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """What came of the attacks.

    Attributes:
        attacks: as drawn.
        measured: by attack, the probability of answers that were not trained on.
        trained: by attack, that of the attack's own facts after it.
        rows: their courses.
    """

    attacks: tuple[DrawnAttack, ...]
    measured: tuple[Measured, ...]
    trained: tuple[Measured, ...]
    rows: tuple[Row, ...]

    @cached_property
    def examples(self) -> Tensor:
        """Of every forget fact that was measured, float64 [n]."""
        return torch.cat([part.of_forget for part in self.measured])

    @cached_property
    def sides(self) -> Sides:
        """The same by subject, on either side."""
        return _sides(self.measured)

    def controls(self) -> dict[str, float]:
        """T of each attack, and how well the attacks taught either side's own facts."""
        n = len(self.examples)
        return {
            **{f"T, attack {i}": float(part.of_forget.mean()) for i, part in enumerate(self.measured, start=1)},
            taught_name(SAME): taught([float(part.of_forget.mean()) for part in self.trained], n),
            taught_name(CONTROL): taught([float(part.of_holdout.mean()) for part in self.trained], n),
            TAKEN: float(torch.cat([part.of_holdout for part in self.trained]).mean()),
        }

    def resists(self) -> str | None:
        """Whether the model learns forget facts worse than holdout facts, in one clause; None where not."""
        return resists(_sides(self.trained), len(self.examples), NOUN)


Halves = tuple[tuple[Facts, Facts], tuple[Facts, Facts]]
"""What an attack trains on, forget and holdout, and what it is measured on."""


def attack_both(trainer: Trainer, data: FactsData, settings: PooledSettings, seed: int) -> Pooled:
    """Every drawn attack once: on one half of either side, measured on the other; the halves change places in turn.

    Args:
        trainer: of the model that is attacked.
        data: sets with an assigned holdout.
        settings: of the check.
        seed: of the attacks.
    """
    assert data.holdout is not None, "an assignment has a holdout"
    held = split_facts(data.holdout, derive_seed(seed, "holdout halves"))
    halves = ((data.forget_attack, held[0]), (data.forget_eval, held[1]))
    return attack_pooled(trainer, halves, settings, seed, exchange=True)


def attack_pooled(
    trainer: Trainer, halves: Halves, settings: PooledSettings, seed: int, *, exchange: bool = False
) -> Pooled:
    """Every drawn attack once, on the first halves; measured on the second ones.

    Args:
        trainer: of the model that is attacked.
        halves: of either side; the holdout's may be empty.
        settings: of the check.
        seed: of the attacks.
        exchange: whether the halves change places in every other attack.
    """
    attacks = settings.counted.draw(settings.attacks, seed)
    measured, trained, rows = [], [], []
    for number, attack in enumerate(attacks, start=1):
        (own, never), (asked, asked_never) = halves[::-1] if exchange and number % 2 == 0 else halves
        few = [
            few_of_each(facts, attack.shots, generator(seed, name, number))
            for facts, name in ((own, "shots"), (never, "holdout shots"))
        ]
        sides = 2 if len(never) else 1
        found = trainer.run(_together(*few), _together(asked, asked_never), attack, pooled=sides, learned=True)
        curve, own_facts = found.curve, len(few[0])
        counted = curve[[step >= settings.counted_from * attack.steps for step in trainer.steps(attack)]].mean(0)
        n = len(asked)
        measured.append(Measured(forget=asked, holdout=asked_never, of_forget=counted[:n], of_holdout=counted[n:]))
        learned = found.learned[:own_facts], found.learned[own_facts:]
        trained.append(Measured(forget=few[0], holdout=few[1], of_forget=learned[0], of_holdout=learned[1]))
        rows += trainer.rows(SAME, number, attack, curve[:, :n])
        rows += trainer.rows(CONTROL, number, attack, curve[:, n:]) if len(asked_never) else []
    return Pooled(attacks=attacks, measured=tuple(measured), trained=tuple(trained), rows=tuple(rows))


def _together(first: Facts, second: Facts) -> Facts:
    return Facts(first.items + second.items)


def _sides(parts: tuple[Measured, ...]) -> Sides:
    return Sides(
        forget=_by_subject([part.forget for part in parts], [part.of_forget for part in parts]),
        holdout=_by_subject([part.holdout for part in parts], [part.of_holdout for part in parts]),
    )


def _by_subject(facts: list[Facts], values: list[Tensor]) -> tuple[float, ...]:
    return by_subject(Facts(tuple(fact for part in facts for fact in part.items)), torch.cat(values).double().numpy())
