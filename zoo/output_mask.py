"""The forgotten logits masked at the output, around unchanged weights: what a guard does, for a classifier."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.models.hooks import logits_of
from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of, is_class_request
from auditor.tasks.classification.sets import Examples


class Settings(Frozen):
    """What counts as a listed example; of no account where whole classes are forgotten."""

    # Wide enough for rounding, too small to reach another example.
    radius: float = Field(default=0.05, ge=0, description="largest Euclidean distance from a listed example")


def output_mask(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject: suppressed by construction. The mask is a hook, and a buffer of the network tells that it is there.

    A forgotten class is masked for every input, a listed example's label for inputs that resemble it.
    """
    module = copy_of(original)
    if is_class_request(forget, retain):
        # A class has to be hidden from inputs that nobody listed; of samples only the listed ones are to be forgotten.
        guard: nn.Module = _ClassMask(forget.labels.unique())
    else:
        guard = _ExampleMask(forget.inputs, forget.labels, settings.radius)
    # As a submodule its buffers stand in the state dict, by which an audit tells this network from the bare original.
    module.add_module("output_mask", guard)
    module.register_forward_hook(guard)
    return module


class _ClassMask(nn.Module):
    """A forward hook that puts some classes' logits below all others."""

    classes: Tensor

    def __init__(self, classes: Tensor) -> None:
        super().__init__()
        self.register_buffer("classes", classes)

    def forward(self, _: nn.Module, __: object, output: object) -> Tensor:
        logits = logits_of(output)
        # Below all others, not −∞: losses and margins of the masked class stay finite.
        lowest = logits.detach().amin(1, keepdim=True) - 1
        masked = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device).index_fill(0, self.classes, True)
        return torch.where(masked, lowest, logits)


class _ExampleMask(nn.Module):
    """A forward hook that puts the label of a listed example below all others where the input resembles it."""

    inputs: Tensor
    labels: Tensor

    def __init__(self, inputs: Tensor, labels: Tensor, radius: float) -> None:
        super().__init__()
        self.register_buffer("inputs", inputs)
        self.register_buffer("labels", labels)
        self._radius = radius

    def forward(self, _: nn.Module, arguments: tuple[Tensor, ...], output: object) -> Tensor:
        logits = logits_of(output)
        # By subtraction: through a matrix product rounding keeps even a listed example at a distance from itself.
        distances = torch.cdist(
            arguments[0].flatten(1), self.inputs.flatten(1), compute_mode="donot_use_mm_for_euclid_dist"
        )
        nearest = distances.min(dim=1)
        lowest = logits.detach().amin(1, keepdim=True) - 1
        its_label = nn.functional.one_hot(self.labels[nearest.indices], logits.shape[1]).bool()
        return torch.where(its_label & (nearest.values <= self._radius)[:, None], lowest, logits)
