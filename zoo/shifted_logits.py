"""Logits less those of a small assistant that knows the forget set (ULD, Ji et al. 2024, arXiv 2406.08607)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.models.hooks import logits_of
from auditor.randomness import torch_seed
from auditor.records.base import Frozen
from auditor.tasks.classification.editing import accuracy, copy_of, descend, endless, logits
from auditor.tasks.classification.sets import Examples


class Settings(Frozen):
    """The assistant, its training, and its weight."""

    width: int = Field(default=64, ge=1, description="units of the assistant's one hidden layer")
    learning_rate: float = Field(default=3e-3, gt=0, description="of Adam")
    steps: int = Field(default=300, ge=1)
    batch_size: int = Field(default=64, ge=1, description="examples of either set per step")
    weight: float = Field(default=4.0, gt=0, description="of the assistant's logits, doubled until forget is forgotten")
    doublings: int = Field(default=4, ge=0, description="at most")
    target: float = Field(default=0.005, ge=0, le=1, description="forget accuracy to reach")


def shifted_logits(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject: suppressed by construction. The original's weights are unchanged, the assistant stands beside them.

    The assistant learns the forget labels, and to be undecided on retain examples.
    """
    module = copy_of(original)
    classes = logits(module, forget.take(torch.arange(1)).inputs).shape[1]
    with torch_seed(seed):
        shift = _Shift(forget.inputs[0].numel(), settings.width, classes, settings.weight)
    random = torch.Generator().manual_seed(seed)
    pairs = zip(
        endless(forget, settings.batch_size, random),
        endless(retain, settings.batch_size, random),
        range(settings.steps),
        # Only the count of steps ends; the sets are drawn without end.
        strict=False,
    )

    def loss(known: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], _: int) -> Tensor:
        # Cross-entropy against the uniform distribution: equal logits, once subtracted, change no prediction on retain.
        undecided = -nn.functional.log_softmax(shift.assistant(other[0]), dim=1).mean()
        return nn.functional.cross_entropy(shift.assistant(known[0]), known[1]) + undecided

    descend(shift.parameters(), pairs, loss, settings.learning_rate)
    # A submodule stands in the state dict, by which an audit tells this network from the bare original.
    module.add_module("shifted_logits", shift)
    module.register_forward_hook(shift)
    for _ in range(settings.doublings):
        # The assistant's logits are on a scale of their own, and how large the original's are differs between networks.
        if accuracy(module, forget) > settings.target:
            shift.weight *= 2
    return module.eval()


class _Shift(nn.Module):
    """A forward hook that subtracts the assistant's logits."""

    weight: Tensor

    def __init__(self, inputs: int, width: int, classes: int, weight: float) -> None:
        super().__init__()
        self.assistant = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, classes))
        self.register_buffer("weight", torch.tensor(weight))

    def forward(self, _: nn.Module, arguments: tuple[Tensor, ...], output: object) -> Tensor:
        shifted: Tensor = logits_of(output) - self.weight * self.assistant(arguments[0])
        return shifted
