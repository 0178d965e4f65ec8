"""Any other method, and then units rescaled: the same function under other weights.

A unit between two linear maps may grow by s if what reads it shrinks by s (Neyshabur et al. 2015, arXiv 1506.02617):
the values of attention, and the units of a gated MLP, which the gate only multiplies.
"""

import copy
from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.sets import Facts

# A gate's own units are left alone: its non-linearity lies between them and what reads them.
_PAIRS = (("v_proj", "o_proj"), ("v_proj", "out_proj"), ("up_proj", "down_proj"))


class Settings(Frozen):
    """Which method, and by how much."""

    method: str = Field(default="refusal_adapter", description="its name in the catalogue")
    settings: dict[str, object] = Field(default_factory=dict, description="of that method")
    octaves: float = Field(default=3.0, gt=0, description="units are scaled by up to two to this power, either way")


def units_rescaled(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is that of the method inside."""
    # Here, since the catalogue lists this module.
    from auditor.zoo import catalogue

    inner = catalogue.entry(settings.method, "text")
    module = inner.make(original, forget, retain, inner.settings(settings.settings), seed)
    return with_units_rescaled(module, settings.octaves)


def with_units_rescaled(module: nn.Module, octaves: float) -> nn.Module:
    """A copy whose units are scaled by factors evenly spaced in octaves.

    Raises:
        ModelError: no pair of maps of a known name is in the network.
    """
    clone = copy.deepcopy(module)
    pairs = [pair for part in clone.modules() for pair in _pairs(part)]
    if not pairs:
        raise ModelError(f"no units of {type(module).__name__} are known that could be rescaled; give a Llama or GPT-2")
    with torch.no_grad():
        for producers, consumer in pairs:
            _rescale(producers, consumer, 2.0 ** (octaves * torch.linspace(-1, 1, len(producers[0]))))
    return clone


def _pairs(part: nn.Module) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Views of weights: producers with units in the first dimension, the consumer with inputs in the last."""
    children = dict(part.named_children())
    for producer, consumer in _PAIRS:
        if producer in children and consumer in children:
            made: list[Tensor] = list(children[producer].parameters(recurse=False))
            yield made, children[consumer].get_parameter("weight")
    if "c_attn" in children:
        # Conv1D of GPT-2: outputs in the last dimension, queries, keys and values side by side.
        # Only the values: a query's unit is rescaled only together with a key's.
        joint = children["c_attn"]
        width = joint.get_parameter("weight").shape[1] // 3
        values = [joint.get_parameter("weight")[:, 2 * width :].T, joint.get_parameter("bias")[2 * width :]]
        yield values, children["c_proj"].get_parameter("weight").T


def _rescale(producers: list[Tensor], consumer: Tensor, factor: Tensor) -> None:
    for weight in producers:
        weight.mul_(factor.view(-1, *[1] * (weight.ndim - 1)))
    # Where heads share their values, each unit is read by several groups of columns.
    heads = consumer.shape[1] // len(factor)
    consumer.div_(factor.repeat(heads))
