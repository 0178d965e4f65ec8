"""Corrupted prompt embeddings where a forgotten subject is named (ECO, Liu et al. 2024, arXiv 2406.07933).

ECO detects a forget prompt with a classifier and searches the strength of the noise. Here the detector is a list of
telling tokens, the noise falls on these, and its strength is given.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, embeddings_of, wrapped
from auditor.tasks.causal_lm.grams import telling_tokens
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """How strong the noise is."""

    strength: float = Field(default=20.0, gt=0, description="standard deviation, in the embeddings' root mean square")


def embedding_corruption(
    original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int
) -> nn.Module:
    """The subject: suppressed by construction, the weights unchanged. The noise is drawn once per token."""
    # Tokens of forget prompts that no retain prompt has: noise on others would show on retain.
    names = telling_tokens(original.encoder, forget, retain)
    module = wrapped(original, "embedding_corruption", forget, retain, settings, seed)
    embeddings = embeddings_of(module)
    weight = embeddings.weight.detach()
    scale = settings.strength * weight.square().mean().sqrt()
    # Drawn once: with new noise in every pass no score of this network could be repeated.
    noise = torch.zeros_like(weight)
    noise[names] = scale * torch.randn(len(names), weight.shape[1], generator=torch.Generator().manual_seed(seed))
    # A hook, not a change of the table: the weights stay the original's, and a copy keeps the hook.
    embeddings.register_forward_hook(_Corrupt(noise))
    return module


class _Corrupt:
    """A forward hook on the embeddings that adds to some tokens."""

    def __init__(self, noise: Tensor) -> None:
        self._noise = noise

    def __call__(self, _: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + self._noise.to(output)[arguments[0]]
