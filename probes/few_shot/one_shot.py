"""One-shot probes of one layer's features, whatever the examples are of: pure functions on tensors."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from auditor.checks.sets import LabelledSet, Sets
from auditor.errors import UsageError
from auditor.inference.auc import auc, placements
from auditor.models.standardise import alive_at_all, factor
from auditor.randomness import generator
from auditor.records.base import Frozen, Row
from auditor.records.score import Reading

Labelled = TypeVar("Labelled", bound=LabelledSet, covariant=True)
Scorer = Callable[[Tensor, Tensor], Tensor]


class Settings(Frozen):
    """Draws and sizes."""

    # 16, 32 and 128 draws gave the same gaps (benchmarks/README.md): references differ, draws do not.
    draws: int = Field(default=32, ge=1, description="one-shot probes averaged in the score")
    shots: tuple[int, ...] = Field(default=(1, 2, 4, 8, 16), description="examples per probe, for the figure")
    figure_draws: int = Field(default=8, ge=1, description="probes averaged at each point of the figure")
    held_aside: int = Field(default=2000, ge=10, description="retain examples ranked against, at most")
    ridge: float = Field(default=10.0, gt=0, description="of the linear probe, on z-scored features")


class ZScored:
    """Z-scored features of one layer, float64.

    Attributes:
        attack: [n_attack, d].
        eval: [n_eval, d].
        background: retain examples a linear probe may see, [n, d].
        aside: retain examples ranked against, [N, d].
    """

    def __init__(self, attack: Tensor, evaluation: Tensor, background: Tensor, aside: Tensor) -> None:
        # Attack examples too: a unit silent on retain may speak on forget, and would have no scale otherwise.
        scale = torch.cat([background, attack]).std(0)
        # A unit that never moves says nothing.
        weight = factor(scale, alive_at_all(scale))
        # Retain's mean is the origin: what sets the example apart from retain is then its direction.
        mean = background.mean(0)
        self.attack, self.eval = (attack - mean) * weight, (evaluation - mean) * weight
        self.background, self.aside = (background - mean) * weight, (aside - mean) * weight


def log_rank(forget: NDArray[np.float64], retain: NDArray[np.float64]) -> NDArray[np.float64]:
    """x_i of the class docstring.

    Args:
        forget: scores of forget examples, [n].
        retain: scores of held-aside retain examples, [N].

    >>> log_rank(np.array([9.0]), np.array([1.0, 2.0, 3.0])).tolist()
    [1.0]
    """
    n = retain.shape[0]
    # log(1/(N+1)) at the top, log(1) = 0 at the bottom; + 0.0 turns −0 into 0.
    ranks: NDArray[np.float64] = -np.log((1 + n - placements(forget, retain)) / (n + 1)) / np.log(n + 1) + 0.0
    return ranks


def halves(n: int, at_most: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of retain examples for standardisation and of those ranked against, disjoint."""
    # Disjoint: the retain examples ranked have to be as new to the scaling as the eval half is.
    order = torch.from_numpy(generator(seed, "retain").permutation(n))
    return order[: n // 2].sort().values, order[n // 2 :][:at_most].sort().values


def by_class(data: Sets[Labelled]) -> list[tuple[Tensor, Tensor]]:
    """Indices into the attack and eval halves of each class that both hold.

    Raises:
        UsageError: there is none.
    """
    attack, evaluation = data.forget_attack.labels, data.forget_eval.labels
    groups = [
        # Class by class: an example of one class says nothing of where another lies.
        (torch.nonzero(attack == label)[:, 0], torch.nonzero(evaluation == label)[:, 0])
        for label in evaluation.unique()
        if bool((attack == label).any())
    ]
    if not groups:
        raise UsageError("few_shot needs a class with two forget examples or more, and the forget set has none")
    return groups


def one_shot(features: ZScored, groups: list[tuple[Tensor, Tensor]], settings: Settings, seed: int) -> Reading:
    """The mean log-rank over draws of every eval example, group by group.

    Args:
        features: of one layer.
        groups: indices into the attack and eval halves of each class.
        settings: how many draws.
        seed: of the draws, the same for every layer and model.
    """
    # The same shots at every layer and in every model: their luck is common to all and cancels in ρ.
    random = generator(seed, "one shot")
    found = []
    for attack, evaluation in groups:
        shots = attack[torch.from_numpy(random.permutation(len(attack)))[: settings.draws]]
        directions = features.attack[shots].T
        forget, retain = (features.eval[evaluation] @ directions).numpy(), (features.aside @ directions).numpy()
        columns = [log_rank(forget[:, k], retain[:, k]) for k in range(forget.shape[1])]
        found.append(np.mean(columns, axis=0))
    examples = np.concatenate(found)
    return Reading(value=float(examples.mean()), examples=tuple(examples.tolist()))


def figure_rows(
    features: ZScored, groups: list[tuple[Tensor, Tensor]], layer: str, settings: Settings, seed: int
) -> list[Row]:
    """AUC against shots of each probe, on the class with the most attack examples."""
    attack, evaluation = max(groups, key=lambda group: len(group[0]))
    probes = {"centre": _centre, "linear": _linear(features.background, settings.ridge), "k-NN": _nearest}
    rows: list[Row] = []
    for n in settings.shots:
        if n > len(attack):
            break
        draws = generator(seed, "figure", n)
        # Drawn before the loop over probes, so that all of them are given the same examples.
        picks = [attack[torch.from_numpy(draws.permutation(len(attack))[:n])] for _ in range(settings.figure_draws)]
        for name, probe in probes.items():
            values = [
                auc(
                    probe(features.eval[evaluation], features.attack[pick]).numpy(),
                    probe(features.aside, features.attack[pick]).numpy(),
                )
                for pick in picks
            ]
            rows.append({"layer": layer, "probe": name, "shots": n, "value": float(np.mean(values))})
    return rows


def _centre(x: Tensor, shots: Tensor) -> Tensor:
    return x @ shots.mean(0)


def _nearest(x: Tensor, shots: Tensor) -> Tensor:
    return -torch.cdist(x, shots).min(1).values


def _linear(background: Tensor, ridge: float) -> Scorer:
    """Fisher's discriminant with the covariance of retain examples, shrunk by a ridge."""
    covariance = background.T @ background / background.shape[0]
    # Inverted once: every draw of every shot count asks for it.
    inverse = torch.linalg.inv(covariance + ridge * torch.eye(covariance.shape[0], dtype=covariance.dtype))
    return lambda x, shots: x @ (inverse @ shots.mean(0))
