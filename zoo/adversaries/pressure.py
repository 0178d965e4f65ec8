"""What the trained adversaries share: from the original, on retain, under penalties that each know one check.

A penalty holds something that a check reads against what it should be: the same, on the same examples, in a few
retrains that the adversary makes for itself, or a constant. Who can unlearn has the retain set and the recipe, so
nothing here asks for the auditor's references.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.models.hooks import hook
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.records.base import Frozen
from auditor.records.spec import RecipeSpec
from auditor.tasks.classification.editing import copy_of, descend, logits
from auditor.tasks.classification.sets import Examples
from auditor.zoo.adversaries.fine_tuning import few_of_each
from auditor.zoo.fresh import fresh_like

_MOST_SHOTS = 0.5  # the other half has to remain for the penalty to be taken on


class Pressure(Frozen):
    """How long it is trained, and on what."""

    steps: int = Field(default=400, ge=1, description="of Adam, from the original")
    unlearning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    forget_batch: int = Field(default=32, ge=1, description="forget examples per step")
    retain_batch: int = Field(default=128, ge=4, description="retain examples per step")
    shots: int = Field(default=8, ge=1, description="further forget examples of a label per step, at most half")
    output_weight: float = Field(default=0.1, ge=0, description="of the outputs' distance from their target, per nat")


class OwnRetrains(RecipeSpec):
    """The original's recipe, for retrains that set the target."""

    # Few, since each costs a whole training.
    retrains: int = Field(default=2, ge=1, description="trained by the adversary to take the target from")


@dataclass(frozen=True)
class Draw:
    """The examples of one step.

    Attributes:
        forget: that the penalty is taken on.
        shots: others of the same labels, which an attack or a probe would know.
        retain: to be kept, and to be compared with.
    """

    forget: Examples
    shots: Examples
    retain: Examples


Quantity = Callable[[nn.Module, Draw], Tensor]
"""Something a check reads, with gradients."""

Penalty = Callable[[nn.Module, Draw], Tensor]
"""A scalar to be descended beside the loss on retain."""


def own_retrains(original: nn.Module, retain: Examples, recipe: OwnRetrains, seed: int) -> list[nn.Module]:
    """Networks that never saw the forget set."""
    build = fresh_like(original)
    # Seeds of the adversary's own: the auditor's references are other models, which it never sees.
    return [train(build, retain, recipe, derive_seed(seed, "own retrain", i)) for i in range(recipe.retrains)]


def like(retrains: Sequence[nn.Module], quantity: Quantity, weight: float) -> Penalty:
    """The Huber distance of a quantity from its mean over the retrains, on the same examples."""

    def penalty(module: nn.Module, draw: Draw) -> Tensor:
        # On the same examples as the network under pressure, so that hard examples are allowed to stay hard.
        with torch.no_grad():
            target = torch.stack([quantity(retrain, draw) for retrain in retrains]).mean(0)
        # Huber: far off, as at the start, a square would drown the loss on retain.
        return weight * nn.functional.smooth_l1_loss(quantity(module, draw), target)

    return penalty


def at(target: float, quantity: Quantity, weight: float) -> Penalty:
    """The Huber distance of a quantity from a constant."""

    def penalty(module: nn.Module, draw: Draw) -> Tensor:
        found = quantity(module, draw)
        return weight * nn.functional.smooth_l1_loss(found, torch.full_like(found, target))

    return penalty


def activations(module: nn.Module, layers: tuple[str, ...], inputs: Tensor) -> list[Tensor]:
    """What each layer holds, with gradients where the network has them."""
    caught: list[Tensor] = []
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(hook(module, layer, caught.append))
        logits(module, inputs)
    return caught


def margins(module: nn.Module, draw: Draw) -> Tensor:
    """The logit margin φ = log p_y − log Σ_{k≠y} p_k of each forget example, [n]."""
    return margins_of(logits(module, draw.forget.inputs), draw.forget.labels)


def margins_of(found: Tensor, labels: Tensor) -> Tensor:
    """The same from logits [n, classes]."""
    own = found.gather(1, labels[:, None])[:, 0]
    # log p/(1 − p), taken from logits, where it does not saturate as p does near 1.
    others = found.masked_fill(nn.functional.one_hot(labels, found.shape[1]).bool(), -torch.inf).logsumexp(1)
    return own - others


def pressed(
    original: nn.Module,
    forget: Examples,
    retain: Examples,
    penalties: Sequence[Penalty],
    settings: Pressure,
    seed: int,
) -> nn.Module:
    """A copy of the original, trained on retain under the penalties.

    Args:
        original: stays as it is.
        forget: drawn again at every step.
        retain: drawn again at every step.
        penalties: added to the loss on retain.
        settings: how long, and on what.
        seed: of every draw.
    """
    # From the original, not a retrain: the question is whether knowledge that is there can be hidden from the checks.
    module = copy_of(original)

    def loss(draw: Draw) -> Tensor:
        kept = nn.functional.cross_entropy(logits(module, draw.retain.inputs), draw.retain.labels)
        return torch.stack([kept, *(penalty(module, draw) for penalty in penalties)]).sum()

    batches = ((draw,) for draw in draws(forget, retain, settings, seed))
    descend(module.parameters(), batches, loss, settings.unlearning_rate)
    return module.eval()


def draws(forget: Examples, retain: Examples, settings: Pressure, seed: int) -> Iterator[Draw]:
    """The examples of each step."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(settings.steps):
        # Drawn again at every step: pressure on fixed examples would hide the class from those alone.
        shots = few_of_each(forget, settings.shots, random, share=_MOST_SHOTS)
        # Never the shots themselves: a probe ranks the examples it was made from first in any network.
        others = torch.ones(len(forget), dtype=torch.bool).index_fill(0, shots, False).nonzero()[:, 0]
        yield Draw(
            forget=forget.take(_some(others, settings.forget_batch, random)),
            shots=forget.take(shots),
            retain=retain.take(_some(torch.arange(len(retain)), settings.retain_batch, random)),
        )


def _some(indices: Tensor, count: int, random: torch.Generator) -> Tensor:
    return indices[torch.randperm(len(indices), generator=random)[:count]]
