"""A language model of the same architecture with weights drawn again."""

import copy
from collections.abc import Callable

from torch import nn

from auditor.errors import ModelError


def fresh_like(original: nn.Module) -> Callable[[], nn.Module]:
    """A function that makes one, as transformers initialises it; its weights come from torch's global seed.

    Raises:
        ModelError: the network is no transformers model, so how it is initialised is not known.
    """
    config = getattr(original, "config", None)
    if config is None:
        raise ModelError(
            f"{type(original).__name__} has no transformers configuration, so fresh weights cannot be drawn; "
            "give a transformers model"
        )
    kind = type(original)

    def build() -> nn.Module:
        # The constructor draws the weights as the family does; layers know their own defaults only.
        return kind(copy.deepcopy(config))

    return build
