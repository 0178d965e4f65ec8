"""The common signature of the zoo's language models: (original, forget, retain, settings, seed) → subject."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from auditor.facts import Facts
from auditor.subjects.answers import answer_losses, logits_of_tokens
from auditor.subjects.encoding import Encoder, Tokens


@dataclass(frozen=True)
class LanguageModel:
    """A network with what turns facts into its tokens."""

    module: nn.Module
    encoder: Encoder


class TextMethod(Protocol):
    """An unlearning method or a construction of known truth. The original is never changed."""

    def __call__(self, original: LanguageModel, forget: Facts, retain: Facts, settings: Any, seed: int) -> nn.Module:
        """Make the subject, in eval mode."""


def copy_of(original: LanguageModel) -> nn.Module:
    """An independent copy in eval mode."""
    return copy.deepcopy(original.module).eval()


def losses(module: nn.Module, tokens: Tokens) -> Tensor:
    """Mean cross-entropy over each answer's tokens, with gradients, float32 [n]."""
    return answer_losses(logits_of_tokens(module, tokens), tokens)


def probability(module: nn.Module, encoder: Encoder, facts: Facts) -> float:
    """Mean over facts of exp of the answer's mean token log-probability."""
    with torch.no_grad():
        parts = [(-losses(module, encoder.batch(part.items))).exp() for part in _pieces(facts, 64)]
    return float(torch.cat(parts).mean())


def descend(
    module: nn.Module,
    loss: Callable[[Facts, Facts], Tensor],
    forget: Facts,
    retain: Facts,
    *,
    rate: float,
    steps: int,
    size: int,
    seed: int,
    enough: Callable[[], bool] = lambda: False,
) -> nn.Module:
    """Adam on a loss of a forget batch and a retain batch of ``size`` facts each.

    Args:
        module: changed.
        loss: of two batches of facts.
        forget: drawn in order, reshuffled when used up.
        retain: the same.
        rate: of Adam.
        steps: at most.
        size: facts in a batch.
        seed: of the order.
        enough: asked at each fifth step whether to stop.
    """
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=rate)
    random = torch.Generator().manual_seed(seed)
    pairs = zip(endless(forget, size, random), endless(retain, size, random), strict=True)
    for step in range(steps):
        if step % 5 == 0 and enough():
            break
        optimizer.zero_grad()
        loss(*next(pairs)).backward()
        optimizer.step()
    return module.eval()


def endless(facts: Facts, size: int, random: torch.Generator) -> Iterator[Facts]:
    """Batches of a set in random order, over and over."""
    while True:
        for index in torch.randperm(len(facts), generator=random).split(size):
            yield facts.take(index.tolist())


def _pieces(facts: Facts, size: int) -> list[Facts]:
    return [facts.take(range(start, min(start + size, len(facts)))) for start in range(0, len(facts), size)]
