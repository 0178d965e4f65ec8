"""Copies that an attack may train."""

import copy

from torch import nn


def movable_copy(module: nn.Module) -> nn.Module:
    """A deep copy all of whose weights train: what its owner froze, an attacker need not."""
    clone = copy.deepcopy(module)
    for parameter in clone.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return clone
