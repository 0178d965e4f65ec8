"""One relearning attack on a model of any kind, by the loss of the user's class."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auditor.attacks.relearning.drawn import DrawnAttack
from auditor.attacks.relearning.image_attack import few_of_each
from auditor.randomness import derive_seed, generator, torch_seed
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.subject import CustomModel


@dataclass(frozen=True, kw_only=True)
class CustomCourse:
    """The course of one attack, in the user's unit.

    Attributes:
        steps: after which it was measured.
        curves: scores by measured set, float64 [measured steps, n] each.
        before: scores of the attack's own examples before it, float64 [shots].
        learned: the same after the last step.
    """

    steps: tuple[int, ...]
    curves: tuple[Tensor, ...]
    before: Tensor
    learned: Tensor


@dataclass(frozen=True, kw_only=True)
class CustomTrainer:
    """Trains clones of one starting model, always in the same way.

    Attributes:
        start: left as it is.
        pool: forget examples that shots are drawn from.
        retain: examples to be kept.
        retain_batch: of them per step.
        points: shares of an attack's length at which it is measured.
        seed: with the number of the attack decides what is drawn, the same for every model.
    """

    start: CustomModel
    pool: CustomExamples
    retain: CustomExamples
    retain_batch: int
    points: tuple[float, ...]
    seed: int

    def run(self, attack: DrawnAttack, number: int, measured: tuple[CustomExamples, ...]) -> CustomCourse:
        """One attack, by its number among the audit's attacks."""
        random = generator(self.seed, "attack", number)
        shots = self.pool.take(few_of_each(self.pool.labels, attack.shots, random.permutation))
        model, steps = self.start.clone(), attack.measured(self.points)
        optimizer = attack.optimizer_of([p for p in model.module.parameters() if p.requires_grad])
        curves: list[list[Tensor]] = [[] for _ in measured]
        # The user's loss may draw, as a diffusion model's does: the same for every model.
        with torch_seed(derive_seed(self.seed, "attack", number, "loss")):
            for step, batch in enumerate(self._batches(attack.steps, random), start=1):
                _step(model, optimizer, shots, batch, attack.forget_share)
                if step in steps:
                    for curve, examples in zip(curves, measured, strict=True):
                        curve.append(model.scores_of(examples))
        return CustomCourse(
            steps=steps,
            curves=tuple(torch.stack(curve) for curve in curves),
            before=self.start.scores_of(shots),
            learned=model.scores_of(shots),
        )

    def _batches(self, steps: int, random: np.random.Generator) -> Iterator[CustomExamples]:
        """Retain examples, drawn again at each step; the shots stay the same."""
        for _ in range(steps):
            yield self.retain.take(torch.from_numpy(random.integers(len(self.retain), size=self.retain_batch)))


def _step(
    model: CustomModel,
    optimizer: torch.optim.Optimizer,
    shots: CustomExamples,
    batch: CustomExamples,
    share: float,
) -> None:
    optimizer.zero_grad()
    (share * model.loss(shots) + (1 - share) * model.loss(batch)).backward()
    optimizer.step()
