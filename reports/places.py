"""Names of layers that a person can place: which of how many, from input to output."""

import re
from collections.abc import Sequence


def place(name: str, layers: Sequence[str]) -> str:
    """A layer, or something inside one, by where it stands; other names as they are.

    Args:
        name: of anything that a figure or table shows.
        layers: of the audit, from input to output.

    >>> place("model.layers.6", [f"model.layers.{i}" for i in range(12)])
    'block 7 of 12'
    >>> place("model.layers.6.mlp", [f"model.layers.{i}" for i in range(12)])
    'block 7 of 12, mlp'
    >>> place("conv3", ["conv1", "conv3"]), place("loss", ["conv1", "conv3"])
    ('conv3 (2 of 2)', 'loss')
    """
    for i, layer in enumerate(layers, 1):
        inside = name.removeprefix(layer)
        if inside != name and (not inside or inside[0] in "./:"):
            where = f"block {i} of {len(layers)}" if is_numbered(layer) else f"{layer} ({i} of {len(layers)})"
            return where if not inside else f"{where}, {inside[1:]}"
    return name


def is_numbered(layer: str) -> bool:
    """Whether it is one of a stack of blocks, which have numbers and no names of their own."""
    return re.search(r"(^|[./])\d+$", layer) is not None
