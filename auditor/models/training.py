"""Training a network by a stated recipe: for references and for the demo."""

import copy
import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from auditor.models.hooks import logits_of
from auditor.randomness import derive_seed, torch_seed
from auditor.records.spec import RecipeSpec

_WARM_UP_SHARE = 0.1


# Images or facts, whose types lie above this folder. Only the loss that is passed along with a set reads its batches.
Batch = Any
"""Some examples of a set."""

Loss = Callable[[nn.Module, Batch, str], Tensor]
"""Mean loss of a network on a batch of examples, on a device."""


Told = Callable[[int, int], None]
"""Told of every step that is done: how many of how many."""


class Trainable(Protocol):
    """A set of examples that batches can be taken from."""

    def __len__(self) -> int:
        """How many."""

    # Facts are taken by a sequence of whole numbers, images by a tensor, and a tensor is not typed as a sequence.
    def take(self, indices: Any, /) -> Batch:
        """Some of them."""


def cross_entropy(module: nn.Module, batch: Batch, device: str) -> Tensor:
    """The loss of a classifier on examples with labels."""
    logits = logits_of(module(batch.inputs.to(device)))
    return nn.functional.cross_entropy(logits, batch.labels.to(device))


def passes_in(dtype: torch.dtype, device: str = "cpu") -> torch.autocast:
    """While open, passes on a device are computed in ``dtype``; weights that are trained keep their own type."""
    # Kept within one context, the rounded weights of the first step would serve every later one.
    return torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32, cache_enabled=False)


def train(
    build: Callable[[], nn.Module],
    examples: Trainable,
    recipe: RecipeSpec,
    seed: int,
    *,
    loss: Loss = cross_entropy,
    device: str = "cpu",
    told: Told = lambda done, steps: None,
) -> nn.Module:
    """Train a fresh network.

    Args:
        build: makes it with initial weights from torch's global seed, which is set here.
        examples: the training set; order is drawn from ``seed``.
        recipe: how.
        seed: of initial weights, order and anything random in the network.
        loss: what is descended.
        device: torch device name.
        told: for a progress bar.

    Returns:
        The network in eval mode, on the CPU.
    """
    with torch_seed(derive_seed(seed, "train")):
        module = build().to(device).train()
        steps = recipe.epochs * math.ceil(len(examples) / recipe.batch_size)
        optimizer = _optimizer(module, recipe)
        schedule = _schedule(optimizer, recipe, steps)
        done = 0
        for _ in range(recipe.epochs):
            for index in torch.randperm(len(examples)).split(recipe.batch_size):
                optimizer.zero_grad()
                loss(module, examples.take(index), device).backward()
                optimizer.step()
                if schedule is not None:
                    schedule.step()
                done += 1
                told(done, steps)
    return module.eval().cpu()


def initial_weights(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """The untrained network that :func:`train` starts from with this seed."""
    with torch_seed(derive_seed(seed, "train")):
        return build()


def continue_from(start: nn.Module) -> Callable[[], nn.Module]:
    """A ``build`` that starts from given weights."""
    # A copy: training changes it, and several models may start from the same weights.
    return lambda: copy.deepcopy(start)


def _optimizer(module: nn.Module, recipe: RecipeSpec) -> Optimizer:
    if recipe.optimizer == "sgd":
        return SGD(
            module.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
    kind = Adam if recipe.optimizer == "adam" else AdamW
    return kind(module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def _schedule(optimizer: Optimizer, recipe: RecipeSpec, steps: int) -> LRScheduler | None:
    if recipe.schedule == "cosine":
        return CosineAnnealingLR(optimizer, steps)
    if recipe.schedule == "one-cycle":
        # A warm-up of one step has no length, by which torch would divide.
        share = 2 / steps if steps * _WARM_UP_SHARE == 1 else _WARM_UP_SHARE
        return OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps, pct_start=share)
    return None
