"""Against `relearning`: the attack is rehearsed on a copy, and the copied network moved so that less comes back.

First-order meta-learning (arXiv 1803.02999; against fine-tuning attacks arXiv 2408.00761): what would lower the forget
set's margin in the attacked copy is applied to the network that was copied.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor, nn

from auditor.tasks.classification.editing import copy_of, head_of
from auditor.zoo.adversaries.fine_tuning import Attack, attacked, few_of_each
from auditor.zoo.adversaries.pressure import Draw, Penalty, margins

Withstood = Callable[[bool, int], float]
"""Mean logit margin of forget examples after so many steps, with the head's row reset or not: what is aimed at."""


def rehearsed(attack: Attack, withstood: Withstood, weight: float, seed: int) -> Penalty:
    """A penalty whose gradient is that of the attacked copy; its value means nothing.

    Args:
        attack: rehearsed for a random number of its steps.
        withstood: the target.
        weight: per nat of distance from the target.
        seed: of steps, arms and shots.
    """
    random = torch.Generator().manual_seed(seed)

    def penalty(module: nn.Module, draw: Draw) -> Tensor:
        # Either arm and any length: the auditor reads several, and pressure at one of them moves recovery to the next.
        reset, step = bool(_below(2, random)), 1 + _below(attack.steps, random)
        *_, clone = islice(_attacked(module, draw, attack, reset, random), step)
        found = margins(clone, draw)
        loss = weight * nn.functional.smooth_l1_loss(found, torch.full_like(found, withstood(reset, step)))
        # First order: differentiating through the attack's steps would need memory for each of them.
        gradients = torch.autograd.grad(loss, list(clone.parameters()))
        if reset:
            _clear_rows(clone, gradients, draw)
        # A product whose derivative by each weight is the copy's gradient: an ordinary backward pass applies it.
        pairs = zip(gradients, module.parameters(), strict=True)
        return torch.stack([(gradient * parameter).sum() for gradient, parameter in pairs]).sum()

    return penalty


def like_attacked(retrains: Sequence[nn.Module], draw: Draw, attack: Attack, seed: int) -> Withstood:
    """What the retrains show under the same attack, their mean after each step."""
    # Measured once beforehand on one draw: attacking the retrains at every step would multiply the cost.
    curves = {reset: _curve(retrains, draw, attack, reset, seed) for reset in (False, True)}
    return lambda reset, step: curves[reset][step - 1]


def _curve(retrains: Sequence[nn.Module], draw: Draw, attack: Attack, reset: bool, seed: int) -> list[float]:
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        rows = [
            [_mean_margin(clone, draw) for clone in _attacked(retrain, draw, attack, reset, random)]
            for retrain in retrains
        ]
    return torch.tensor(rows).mean(0).tolist()


def _mean_margin(module: nn.Module, draw: Draw) -> float:
    return float(margins(module, draw).detach().mean())


def _attacked(
    module: nn.Module, draw: Draw, attack: Attack, reset: bool, random: torch.Generator
) -> Iterator[nn.Module]:
    """A copy of the network after each step."""
    start = copy_of(module)
    if reset:
        _reset_rows(start, draw)
    shots = draw.shots.take(few_of_each(draw.shots, attack.shots, random))
    # The attack trains, also where the caller only looks.
    with torch.enable_grad():
        yield from attacked(start, shots, draw.retain, attack, random)


def _reset_rows(module: nn.Module, draw: Draw) -> None:
    """The head no longer holds anything for or against the forgotten classes, as in ``relearning``."""
    head, classes = head_of(module, draw.retain), draw.forget.labels.unique()
    others = torch.ones(head.out_features, dtype=torch.bool).index_fill(0, classes, False)
    with torch.no_grad():
        head.weight[classes] = 0
        if head.bias is not None:
            # The mean and not 0: a bias that stands out for or against the class would itself be knowledge of it.
            head.bias[classes] = head.bias[others].mean()


def _clear_rows(clone: nn.Module, gradients: Sequence[Tensor], draw: Draw) -> None:
    """The rows that were reset do not depend on the network that was copied."""
    head, classes = head_of(clone, draw.retain), draw.forget.labels.unique()
    for parameter, gradient in zip(clone.parameters(), gradients, strict=True):
        if parameter is head.weight or parameter is head.bias:
            gradient[classes] = 0


def _below(bound: int, random: torch.Generator) -> int:
    return int(torch.randint(bound, (1,), generator=random))
