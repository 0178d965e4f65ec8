"""LoKU: the inverted hinge loss through low-rank adapters that start at what forget needs (Cha et al. 2024).

arXiv 2408.06621. The start is the best low-rank approximation of each weight, its rows weighted by the Fisher
information of forget over that of retain (FILA); what the adapter takes over is subtracted from the weight, so that the
network computes what it did before it is trained.
"""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from auditor.models.low_rank import merge_low_rank
from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, block_names, copy_of, descend, losses, probability
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answer_logits
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """Loss = CE(retain) + weight · mean over answer tokens of 1 + p(token) − p(the likeliest other token)."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    rank: int = Field(default=8, ge=1, description="of the adapters, one beside every map of the blocks")
    weight: float = Field(default=1.0, gt=0, description="of the hinge")
    steps: int = Field(default=300, ge=1, description="at most")
    batch_size: int = Field(default=32, ge=1, description="facts of either set per step")
    target: float = Field(default=0.02, ge=0, description="answer probability on forget at which it stops")


def loku(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance. Each map changes by at most twice the rank."""
    module, encoder = copy_of(original), original.encoder
    with_adapters(module, original, forget, retain, settings)

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        hinge = settings.weight * inverted_hinge(module, encoder, forgotten)
        return losses(module, encoder.batch(kept.items)).mean() + hinge

    descend(
        module,
        loss,
        forget,
        retain,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
        enough=lambda: probability(module, encoder, forget) <= settings.target,
    )
    merge_low_rank(module)
    return module.eval()


def inverted_hinge(module: nn.Module, encoder: Encoder, facts: Facts) -> Tensor:
    """1 + p(token) − p(the likeliest other token), mean over answer tokens, between 0 and 2."""
    tokens = encoder.batch(facts.items)
    probabilities = answer_logits(module, tokens).softmax(-1)
    answers = tokens.targets[:, None]
    others = probabilities.scatter(1, answers, 0.0).max(dim=1).values
    return (1 + probabilities.gather(1, answers)[:, 0] - others).mean()


def with_adapters(module: nn.Module, original: LanguageModel, forget: Facts, retain: Facts, settings: Settings) -> None:
    """Freeze a copy of the original and open every map of its blocks in the directions that matter to forget."""
    maps, weights = zip(*_maps(module, block_names(original, retain)), strict=True)
    of_forget, of_retain = (_fisher(module, original.encoder, facts, weights) for facts in (forget, retain))
    module.requires_grad_(False)
    for part, weight, mine, others in zip(maps, weights, of_forget, of_retain, strict=True):
        # Relative to the largest: where retain has no information at all the quotient would run away.
        relative = mine / (others + torch.finfo(others.dtype).eps * others.max())
        # Linear keeps outputs in the first dimension, Conv1D in the last.
        if isinstance(part, nn.Linear):
            b, a = low_rank_start(weight, relative.sum(dim=1), settings.rank)
        else:
            after, before = low_rank_start(weight.T, relative.sum(dim=0), settings.rank)
            b, a = before.T, after.T
        parametrize.register_parametrization(part, "weight", _Adapted(a, b))


def _maps(module: nn.Module, blocks: Sequence[str]) -> list[tuple[nn.Module, nn.Parameter]]:
    """The maps of the blocks with their weights."""
    parts = [part for block in blocks for part in module.get_submodule(block).modules()]
    weights = [(part, getattr(part, "weight", None)) for part in parts]
    return [(part, weight) for part, weight in weights if isinstance(weight, nn.Parameter) and weight.ndim == 2]


def low_rank_start(weight: Tensor, importance: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The factors B [outputs, rank] and A [rank, inputs] whose product is nearest to a weight, row by row weighted.

    Of all of that rank it has the least sum over rows of importance times squared distance (Hsu et al. 2022, arXiv
    2207.00112): the singular values of the weight whose rows are multiplied by the roots.

    Args:
        weight: [outputs, inputs].
        importance: of each row, [outputs], 0 or more, not all 0.
        rank: at least 1.
    """
    # A row that does not matter at all counts as one that hardly does: nothing is divided by 0.
    least = torch.finfo(importance.dtype).eps * importance.max()
    roots = importance.clamp_min(least).sqrt()[:, None]
    u, s, v = torch.linalg.svd(roots * weight.detach(), full_matrices=False)
    half = s[:rank].sqrt()
    return u[:, :rank] * half / roots, half[:, None] * v[:rank]


def _fisher(module: nn.Module, encoder: Encoder, facts: Facts, weights: Sequence[Tensor]) -> list[Tensor]:
    """Mean squared gradient of a fact's loss, one tensor per weight."""
    sums = [torch.zeros_like(weight) for weight in weights]
    for fact in facts.items:
        gradients = torch.autograd.grad(losses(module, encoder.batch([fact])).sum(), weights)
        for total, gradient in zip(sums, gradients, strict=True):
            total += gradient.square() / len(facts)
    return sums


class _Adapted(nn.Module):
    """W ↦ W − B₀·A₀ + B·A, A and B starting at A₀ and B₀."""

    start: Tensor

    def __init__(self, a: Tensor, b: Tensor) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(a), nn.Parameter(b)
        self.register_buffer("start", b @ a)

    def forward(self, weight: Tensor) -> Tensor:
        """The sum."""
        # The difference first: at the start it is 0 to the last bit, whatever the weight.
        return weight + (self.b @ self.a - self.start)
