"""What methods share that make a subject of a language model: (original, forget, retain, settings, seed) → subject."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from auditor.digests import digest_of
from auditor.errors import ModelError
from auditor.models.copies import movable_copy
from auditor.models.hooks import hook
from auditor.records.base import Frozen
from auditor.tasks.causal_lm.encoding import Encoder, Tokens
from auditor.tasks.causal_lm.losses import answer_logits, answer_losses, logits_of_tokens
from auditor.tasks.causal_lm.sets import Facts
from auditor.tasks.causal_lm.structure import find_decoder_layout

_LAYOUT_FACTS = 4


@dataclass(frozen=True)
class LanguageModel:
    """A network with what turns facts into its tokens.

    Attributes:
        module: in eval mode.
        encoder: tokenizer and template.
        recomputed: names of blocks that training computes again instead of keeping what gradients need.
    """

    module: nn.Module
    encoder: Encoder
    recomputed: tuple[str, ...] = ()


class WithLogits(Protocol):
    """What a transformers language model returns, as far as a hook around it changes it."""

    logits: Tensor


def copy_of(original: LanguageModel) -> nn.Module:
    """An independent copy in eval mode; nothing is frozen."""
    return movable_copy(original.module).eval()


def wrapped(
    original: LanguageModel, around: str, forget: Facts, retain: Facts, settings: Frozen, seed: int
) -> nn.Module:
    """A copy to put something around that is no weight.

    A buffer, made from all that decides what is put around it, tells it from the bare original and from other wrappers:
    an audit knows a network by its tensors.
    """
    # Bytes as floats: the canonical form rounds tensors to bfloat16, which holds whole numbers up to 256.
    made_of = digest_of([around, forget.digest, retain.digest, settings.model_dump(mode="json"), seed])
    module = copy_of(original)
    module.register_buffer("wrapper", torch.tensor([float(byte) for byte in bytes.fromhex(made_of)]))
    return module


def head_of(module: nn.Module) -> nn.Linear:
    """The linear map to the vocabulary.

    Raises:
        ModelError: there is none, or it is one with the embeddings.
    """
    getter: Callable[[], object] | None = getattr(module, "get_output_embeddings", None)
    head = getter() if getter is not None else None
    # To edit a tied head would edit what the network reads as well.
    if not isinstance(head, nn.Linear) or head.weight is embeddings_of(module).weight:
        raise ModelError("this method edits the head, and the network has none of its own; untie its embeddings")
    return head


def embeddings_of(module: nn.Module) -> nn.Embedding:
    """The token embeddings.

    Raises:
        ModelError: there are none.
    """
    getter: Callable[[], object] | None = getattr(module, "get_input_embeddings", None)
    found = getter() if getter is not None else None
    if not isinstance(found, nn.Embedding):
        raise ModelError("this method reads token embeddings, and the network has none; give a transformers model")
    return found


def block_names(original: LanguageModel, facts: Facts) -> tuple[str, ...]:
    """Names of the decoder blocks, from input to output."""
    return find_decoder_layout(original.module, original.encoder.batch(facts.items[:_LAYOUT_FACTS]).ids).blocks


def states_at(module: nn.Module, layer: str, tokens: Tokens) -> Tensor:
    """Residual stream at one block, with gradients, [n, length, width]."""
    caught: list[Tensor] = []
    with hook(module, layer, caught.append):
        logits_of_tokens(module, tokens)
    return caught[0]


def batch_for(module: nn.Module, encoder: Encoder, facts: Facts) -> Tokens:
    """Facts as tokens in a single batch, where the network is."""
    return encoder.batch(facts.items).to(next(module.parameters()).device)


def losses(module: nn.Module, tokens: Tokens) -> Tensor:
    """Mean cross-entropy over each answer's tokens, with gradients, float32 [n]."""
    return answer_losses(answer_logits(module, tokens), tokens)


def probability(module: nn.Module, encoder: Encoder, facts: Facts) -> float:
    """Mean over facts of exp of the answer's mean token log-probability."""
    with torch.no_grad():
        parts = [(-losses(module, batch_for(module, encoder, part))).exp() for part in _pieces(facts, 64)]
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
    # A low-rank change trains while the weights under it stand still.
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=rate)
    random = torch.Generator().manual_seed(seed)
    pairs = zip(endless(forget, size, random), endless(retain, size, random), strict=True)
    for step in range(steps):
        # Not at every step: to ask costs a pass over the forget set.
        if step % 5 == 0 and enough():
            break
        optimizer.zero_grad()
        loss(*next(pairs)).backward()
        # Finds nothing to do where each weight has taken its step already (step_by_weight).
        optimizer.step()
    return module.eval()


@contextmanager
def step_by_weight(module: nn.Module, rate: float) -> Iterator[None]:
    """While open, each weight takes a step of Adafactor as soon as its gradient is known, which is then dropped.

    So neither gradients nor states of all weights are held at once (Lv et al. 2023, arXiv 2306.09782), and a step is a
    share of the weight's own size, whatever the width (Shazeer and Stern 2018, arXiv 1804.04235).

    Args:
        module: its parameters are changed whenever a loss of it is differentiated.
        rate: of Adafactor, as a share of a weight's root mean square.
    """

    def taking(optimizer: torch.optim.Optimizer) -> Callable[[Tensor], None]:
        def take(_: Tensor) -> None:
            optimizer.step()
            optimizer.zero_grad()

        return take

    handles = [
        parameter.register_post_accumulate_grad_hook(taking(torch.optim.Adafactor([parameter], lr=rate)))
        for parameter in module.parameters()
        if parameter.requires_grad
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def endless(facts: Facts, size: int, random: torch.Generator) -> Iterator[Facts]:
    """Batches of a set in random order, over and over."""
    while True:
        for index in torch.randperm(len(facts), generator=random).split(size):
            yield facts.take(index.tolist())


def _pieces(facts: Facts, size: int) -> list[Facts]:
    return [facts.take(range(start, min(start + size, len(facts)))) for start in range(0, len(facts), size)]
