"""One relearning attack on an image classifier: what it trains on, its steps, and what is measured along the way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auditor.attacks.relearning.drawn import DrawnAttack
from auditor.checks.sets import LabelledSet
from auditor.randomness import generator
from auditor.tasks.classification.sets import Examples
from auditor.tasks.classification.subject import Classifier

Labelled = TypeVar("Labelled", bound=LabelledSet)
Permutation = Callable[[int], NDArray[np.int64]]
_NONE = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True, kw_only=True)
class Course:
    """The course of one attack.

    Attributes:
        steps: after which it was measured.
        curves: probability of the true label by measured set, float64 [measured steps, n] each.
        shots: the attack's own examples, as places in the pool that they were drawn from, int64 [shots].
        learned: the same probability on these after the last step, float64 [shots].
    """

    steps: tuple[int, ...]
    curves: tuple[Tensor, ...]
    shots: Tensor
    learned: Tensor

    @property
    def taught(self) -> float:
        """How well the attack taught its own examples, on average; 0 without any."""
        return float(self.learned.mean()) if len(self.learned) else 0.0


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Trains clones of one starting model, always in the same way.

    Attributes:
        start: left as it is.
        pool: forget examples that shots are drawn from; None trains on retain examples alone.
        retain: examples to be kept.
        retain_batch: of them per step.
        points: shares of an attack's length at which it is measured.
        seed: with the number of the attack decides what is drawn, the same for every model.
    """

    start: Classifier
    pool: Examples | None
    retain: Examples
    retain_batch: int
    points: tuple[float, ...]
    seed: int

    def run(self, attack: DrawnAttack, number: int, measured: tuple[Examples, ...]) -> Course:
        """One attack, by its number among the audit's attacks."""
        # By seed and number alone: every model and both arms meet the same shots and batches.
        random = generator(self.seed, "attack", number)
        picks = _NONE if self.pool is None else few_of_each(self.pool.labels, attack.shots, random.permutation)
        shots = self.pool and self.pool.take(picks)
        model = self.start.clone()
        optimizer = attack.optimizer_of(list(model.module.parameters()))
        steps = attack.measured(self.points)
        curves: list[list[Tensor]] = [[] for _ in measured]
        for step, batch in enumerate(self._batches(attack.steps, random), start=1):
            _step(model, optimizer, shots, batch, attack.forget_share)
            if step in steps:
                for curve, examples in zip(curves, measured, strict=True):
                    curve.append(true_probability(model, examples))
        return Course(
            steps=steps,
            curves=tuple(torch.stack(curve) for curve in curves),
            shots=picks,
            learned=true_probability(model, shots) if shots is not None else _NONE.double(),
        )

    def _batches(self, steps: int, random: np.random.Generator) -> Iterator[Examples]:
        """Retain examples, drawn again at each step; the shots stay the same."""
        for _ in range(steps):
            yield self.retain.take(torch.from_numpy(random.integers(len(self.retain), size=self.retain_batch)))


def _step(
    model: Classifier, optimizer: torch.optim.Optimizer, shots: Examples | None, batch: Examples, share: float
) -> None:
    parts = [batch] if shots is None else [shots, batch]
    device = next(model.module.parameters()).device
    labels = torch.cat([part.labels for part in parts]).to(device)
    logits = model.forward(torch.cat([part.inputs for part in parts]).to(device)).float()
    losses = nn.functional.cross_entropy(logits, labels, reduction="none")
    kept = losses[-len(batch) :].mean()
    optimizer.zero_grad()
    (kept if shots is None else share * losses[: len(shots)].mean() + (1 - share) * kept).backward()
    optimizer.step()


def true_probability(model: Classifier, examples: Examples) -> Tensor:
    """Of the true label, float64 [n]."""
    return model.logits(examples).double().softmax(1).gather(1, examples.labels[:, None])[:, 0]


def apart(attack: Labelled, at_most: int, seed: int) -> tuple[Labelled, Labelled]:
    """(examples that shots are drawn from, examples by which arms are chosen): disjoint halves of each label."""
    random = generator(seed, "aside")
    shots, aside = [], []
    for label in attack.labels.unique():
        members = torch.nonzero(attack.labels == label)[:, 0]
        members = members[torch.from_numpy(random.permutation(len(members)))]
        # The odd one becomes a shot: a label with a single example can still be attacked.
        half = (len(members) + 1) // 2
        shots.append(members[:half])
        aside.append(members[half:])
    spare = torch.cat(aside)
    picks = torch.from_numpy(random.permutation(len(spare))[:at_most])
    return attack.take(torch.cat(shots).sort().values), attack.take(spare[picks].sort().values)


def few_of_each(labels: Tensor, n: int, permutation: Permutation) -> Tensor:
    """Indices of up to n examples of each label."""
    picks = []
    for label in labels.unique():
        members = torch.nonzero(labels == label)[:, 0]
        picks.append(members[torch.from_numpy(permutation(len(members))[:n])])
    return torch.cat(picks)


def row_reset(start: Classifier, classes: Tensor) -> Classifier | None:
    """A clone whose head no longer holds anything for or against the classes; None without a linear head.

    Rows are set to zero: from the mean of the others the original hardly stands out (docs/checks.md#relearning).
    """
    clone = start.clone()
    head = clone.head()
    if head is None:
        return None
    others = torch.ones(head.out_features, dtype=torch.bool)
    others[classes] = False
    # Nothing to take a mean bias from.
    if not bool(others.any()):
        return None
    with torch.no_grad():
        head.weight[classes] = 0
        if head.bias is not None:
            # A bias of 0 might itself stand above or below all the others.
            head.bias[classes] = head.bias[others].mean()
    return clone
