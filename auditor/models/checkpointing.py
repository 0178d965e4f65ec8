"""Gradient checkpointing: what a block computes is made again when its gradients are taken, instead of being kept."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputing(module: nn.Module, blocks: Sequence[str]) -> Iterator[None]:
    """While open, a pass with gradients keeps of each block what enters it, and computes the rest a second time.

    One block's worth of what gradients need is in memory at a time, for one more forward pass a step (Chen et al. 2016,
    arXiv 1604.06174).

    Args:
        module: in eval mode, which it stays in: transformers' own ``gradient_checkpointing_enable`` works in training
            mode alone, where dropout makes other losses.
        blocks: names of the submodules, from input to output; none changes nothing.
    """
    parts = [module.get_submodule(name) for name in blocks]
    before = [vars(part).get("forward") for part in parts]
    for part in parts:
        # On the object, as its class serves other networks as well.
        part.forward = _twice(part.forward)
    try:
        yield
    finally:
        for part, own in zip(parts, before, strict=True):
            del part.forward
            if own is not None:
                part.forward = own


def _twice(forward: Callable[..., object]) -> Callable[..., object]:
    def run(*arguments: object, **keywords: object) -> object:
        # Without gradients nothing is kept, so there is nothing to save.
        if not torch.is_grad_enabled():
            return forward(*arguments, **keywords)
        given = {name: _uncached(value) for name, value in keywords.items()}
        again = partial(forward, **given)
        found: object = checkpoint(again, *map(_uncached, arguments), use_reentrant=False)
        return found

    return run


def _uncached(value: object) -> object:
    """None in place of a cache of keys and values, which the second pass would fill with every token again."""
    # By what it does, since its class is one of transformers', which is not imported here for its name alone.
    return None if hasattr(value, "get_seq_length") and hasattr(value, "update") else value
