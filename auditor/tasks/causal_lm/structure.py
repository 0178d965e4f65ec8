"""Where a decoder-only language model can be cut, read off its behaviour on a few tokens."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.models.canonical import HomogeneousPair
from auditor.models.hooks import trace
from auditor.models.units import UnitPair
from auditor.tasks.causal_lm.block_units import find_block_units

# What is looked at shows on a handful of tokens, and logits over a whole vocabulary of more are large.
_SEQUENCES, _TOKENS = 2, 16


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderLayout:
    """Structure of one architecture, read off the original.

    Attributes:
        blocks: names of the decoder blocks, from input to output; the output of each is the residual stream.
        final_norm: name of the module between the last block and the head; None where there is none.
        head: name of the linear map to the vocabulary.
        pairs: homogeneous unit pairs, for rescaling.
        units: which maps make units and which read them, for taking out those that are dead.
    """

    blocks: tuple[str, ...]
    final_norm: str | None
    head: str
    pairs: tuple[HomogeneousPair, ...]
    units: tuple[UnitPair, ...] = ()


def find_decoder_layout(module: nn.Module, ids: Tensor) -> DecoderLayout:
    """Blocks, final norm and head of a transformers language model.

    Args:
        module: the original, in eval mode.
        ids: int64 [n, length], some tokens, of which a handful is taken.

    Raises:
        ModelError: no stack of blocks, or no linear map to the vocabulary.
    """
    head, few = _head_name(module), ids[:_SEQUENCES, :_TOKENS]
    # By experiment and not by name: families call these modules differently.
    with torch.no_grad():
        seen = trace(module, lambda: module(few))
        states = _input_of(module, head, few)
    blocks = _blocks(module, dict(seen))
    pairs, units = find_block_units(module, blocks, few)
    outside = [name for name, _ in seen if not any(name == b or name.startswith(f"{b}.") for b in blocks)]
    activations = dict(seen)
    # What gives the head its very input, bit for bit, is what stands before it.
    norms = [n for n in outside if n != head and _equal(activations[n], states)]
    return DecoderLayout(
        blocks=blocks,
        final_norm=norms[-1] if norms else None,
        head=head,
        pairs=pairs,
        units=units,
    )


def _head_name(module: nn.Module) -> str:
    # transformers finds the head in every family; its name differs between them.
    getter = getattr(module, "get_output_embeddings", None)
    head = getter() if getter is not None else None
    names = [str(name) for name, child in module.named_modules() if child is head and isinstance(child, nn.Linear)]
    if names:
        return names[0]
    raise ModelError("the language model has no linear map to its vocabulary, so its layers cannot be read")


def _blocks(module: nn.Module, activations: dict[str, Tensor]) -> tuple[str, ...]:
    """The longest list of modules that each ran once and pass on a stream of one width."""
    best: tuple[str, ...] = ()
    for name, child in module.named_modules():
        if isinstance(child, nn.ModuleList):
            names = tuple(f"{name}.{i}" for i in range(len(child)))
            # A list of experts may be longer, but not each of them runs, or on as many tokens.
            ran = [activations[n] for n in names if n in activations]
            if len(ran) == len(names) and len({a.shape for a in ran}) == 1 and len(names) > len(best):
                best = names
    if not best:
        raise ModelError("the language model has no stack of decoder blocks, so its layers cannot be read")
    return best


def _input_of(module: nn.Module, name: str, ids: Tensor) -> Tensor:
    caught: list[Tensor] = []
    handle = module.get_submodule(name).register_forward_pre_hook(lambda _, arguments: caught.append(arguments[0]))
    try:
        module(ids)
    finally:
        handle.remove()
    return caught[0]


def _equal(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first, second)


def width_of(module: nn.Module, layout: DecoderLayout) -> int:
    """Of the residual stream."""
    head = module.get_submodule(layout.head)
    assert isinstance(head, nn.Linear), "the layout was read off such a one"
    return head.in_features
