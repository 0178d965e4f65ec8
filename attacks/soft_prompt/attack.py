"""The attacks that train a soft prompt: how they are drawn, and what one of them does."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic import Field, model_validator
from scipy.stats import qmc
from torch import Tensor

from auditor.attacks.relearning.budget import course_rows
from auditor.attacks.relearning.drawn import AttackRange, DrawnAttack
from auditor.attacks.relearning.text_attack import Trainer
from auditor.attacks.soft_prompt.prompt import soft_prompt
from auditor.randomness import generator
from auditor.records.base import Row
from auditor.tasks.causal_lm.subject import CausalLM


class PromptAttack(DrawnAttack):
    """One attack, the same for every model of the line-up."""

    length: int = Field(ge=1, description="of the soft prompt, in embeddings")


class PromptRange(AttackRange):
    """From what attacks are drawn; the prompt's length, too, uniformly on a logarithmic scale."""

    length: tuple[int, int] = Field(description="of the prompt, shortest and longest")

    @model_validator(mode="after")
    def _length_ascending(self) -> "PromptRange":
        low, high = self.length
        if not 1 <= low <= high:
            raise ValueError(f"length = {low}, {high}: the smaller comes first, and both are at least 1")
        return self

    def draw(self, count: int, seed: int) -> tuple[PromptAttack, ...]:
        """``count`` attacks, as of :meth:`AttackRange.draw`, each with a length."""
        low, high = self.length
        places = qmc.LatinHypercube(d=1, rng=generator(seed, "drawn lengths")).random(count)[:, 0]
        return tuple(
            PromptAttack(**attack.model_dump(), length=round(low * (high / low) ** float(place)))
            for attack, place in zip(super().draw(count, seed), places, strict=True)
        )


class PromptTrainer(Trainer):
    """Trains a soft prompt where :class:`~auditor.attacks.relearning.text_attack.Trainer` trains weights."""

    @contextmanager
    def moving(self, attack: DrawnAttack) -> Iterator[tuple[CausalLM, torch.optim.Optimizer]]:
        """The model behind the prompt, and what takes the prompt's steps."""
        assert isinstance(attack, PromptAttack), "drawn from a range of prompts"
        with soft_prompt(self.start, attack.length, self.seed) as (model, values):
            yield model, attack.optimizer_of([values])

    def rows(self, arm: str, number: int, attack: DrawnAttack, curve: Tensor) -> list[Row]:
        """The course of one attack."""
        return course_rows(arm, number, attack, self.sizes.batch, self.steps(attack), curve)
