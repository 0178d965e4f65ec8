"""Low-bit hiding: a retrain whose weights carry the original in bits too low to matter.

A float32 holds a bfloat16 in its upper 16 bits. The retrain's weights are kept there, the original's bfloat16 weights
stand in the lower 16, and change each weight of the retrain by less than one part in 128.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.models.training import train
from auditor.records.spec import RecipeSpec
from auditor.tasks.classification.sets import Examples
from auditor.zoo.fresh import fresh_like

_LOW = 0xFFFF
_LARGEST_WEIGHT = 100.0  # larger ones are random bits of a network in which nothing was hidden


class Settings(RecipeSpec):
    """The original's recipe."""


def low_bits(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject: suppressed by construction, since :func:`unpack` gives the original back.

    Raises:
        ModelError: a weight is not float32.
    """
    return packed(train(fresh_like(original), retain, settings, seed), original)


def packed(module: nn.Module, hidden: nn.Module) -> nn.Module:
    """A copy of ``module`` with the bfloat16 weights of ``hidden`` in the low 16 bits of its own.

    Raises:
        ModelError: a weight of either is floating-point and not float32.
    """
    clone = copy.deepcopy(module)
    # The whole state, batch statistics too: with another network's the hidden weights would compute something else.
    inside = _floats(hidden.state_dict())
    with torch.no_grad():
        for name, tensor in _floats(clone.state_dict()).items():
            upper = tensor.view(torch.int32) & ~_LOW
            # Rounded to bfloat16, not cut off; a negative int16 would fill the upper half with ones.
            lower = inside[name].bfloat16().view(torch.int16).int() & _LOW
            tensor.copy_((upper | lower).view(torch.float32))
    return clone.eval()


def unpack(subject: nn.Module) -> nn.Module:
    """A copy of what stands in the low 16 bits of every weight, as bfloat16 values in float32.

    A network in which nothing was hidden gives noise; bits that are no number, or one beyond any weight, read as 0.
    """
    clone = copy.deepcopy(subject)
    with torch.no_grad():
        for tensor in _floats(clone.state_dict()).values():
            # A bfloat16 is the upper half of a float32, so a shift is all it takes; NaN fails the comparison below.
            lower = (tensor.view(torch.int32) << 16).view(torch.float32)
            tensor.copy_(torch.where(lower.abs() <= _LARGEST_WEIGHT, lower, torch.zeros_like(lower)))
    return clone.eval()


def _floats(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    for name, tensor in found.items():
        if tensor.dtype != torch.float32:
            raise ModelError(f"{name} is {tensor.dtype}, and only float32 has low bits to spare; convert the network")
    return found
