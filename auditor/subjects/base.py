"""What the adapters of all tasks share."""

import copy

from torch import nn

CANONICAL_EXAMPLES = 512
CANONICAL_FACTS = 256
"""Retain examples, and facts, by which a model's units are rescaled, at most."""
CANONICAL_PASSES = 3
"""Over them: one finds the scales; one of either form, batch by batch, shows that both compute the same."""


def movable_copy(module: nn.Module) -> nn.Module:
    """A deep copy all of whose weights train: what its owner froze, an attacker need not."""
    clone = copy.deepcopy(module)
    for parameter in clone.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return clone
