"""A network of the same architecture with weights drawn again, for constructions that start over."""

import copy
from collections.abc import Callable

from torch import nn

from auditor.errors import ModelError
from auditor.randomness import torch_seed


def fresh_like(original: nn.Module) -> Callable[[], nn.Module]:
    """A function that makes one; its weights come from torch's global seed, by each layer's own initialisation.

    Raises:
        ModelError: a layer holds parameters and cannot initialise them.
    """
    # Before anything is built: a layer left with the original's weights would make a deletion that remembers.
    for name, part in original.named_modules():
        if _reset_of(part) is None and next(part.parameters(recurse=False), None) is not None:
            raise ModelError(
                f"layer {name or 'the network itself'} ({type(part).__name__}) holds parameters and has no "
                "reset_parameters(), so fresh weights cannot be drawn; give it one"
            )

    def build() -> nn.Module:
        module = copy.deepcopy(original)
        for part in module.modules():
            reset = _reset_of(part)
            if reset is not None:
                reset()
        return module

    return build


def reinitialised(original: nn.Module, seed: int) -> nn.Module:
    """One such network, in eval mode."""
    with torch_seed(seed):
        return fresh_like(original)().eval()


def _reset_of(part: nn.Module) -> Callable[[], object] | None:
    # torch calls it _reset_parameters in nn.MultiheadAttention.
    reset: object = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
    return reset if callable(reset) else None
