"""Boundary shrink: forget examples get the nearest wrong class as their label (Chen et al. 2023, arXiv 2303.11570).

The nearest wrong class is what the original calls the example after one step of FGSM away from its label.
"""

from collections.abc import Iterator
from itertools import islice

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.classification.editing import accuracy, copy_of, descend, endless, logits
from auditor.tasks.classification.sets import Examples

_BETWEEN = 5  # steps: measuring forget accuracy costs more than a step


class Settings(Frozen):
    """The search for the nearest class, and the fine-tuning."""

    radius: float = Field(default=0.1, gt=0, description="of the FGSM step, in units of the model's input")
    # Small, since nothing holds retain in place: the default pays up to .07 of retain accuracy (docs/zoo.md).
    learning_rate: float = Field(default=2e-5, gt=0, description="of Adam")
    max_steps: int = Field(default=300, ge=1)
    target: float = Field(default=0.05, ge=0, le=1, description="forget accuracy at which to stop")
    batch_size: int = Field(default=64, ge=1)


def boundary_shrink(
    original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int
) -> nn.Module:
    """The subject; its truth is not known in advance. Retain is not used."""
    module = copy_of(original)
    # Once, in the original: sought again during training it would follow the boundary that is being moved.
    nearest = nearest_wrong(module, forget, settings.radius)
    moved = Examples(raw=forget.raw, labels=nearest, preprocessing=forget.preprocessing)
    batches = endless(moved, settings.batch_size, torch.Generator().manual_seed(seed))

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits(module, x), y)

    def until_forgotten() -> Iterator[tuple[Tensor, Tensor]]:
        for step, batch in enumerate(islice(batches, settings.max_steps)):
            yield batch
            if step % _BETWEEN == 0 and accuracy(module, forget) <= settings.target:
                return

    descend(module.parameters(), until_forgotten(), loss, settings.learning_rate)
    return module.eval()


def nearest_wrong(module: nn.Module, examples: Examples, radius: float) -> Tensor:
    """The class, other than the label, that is likeliest after one step of FGSM, int64 [n]."""
    inputs = examples.inputs.clone().requires_grad_()
    loss = nn.functional.cross_entropy(logits(module, inputs), examples.labels)
    with torch.no_grad():
        pushed = logits(module, inputs + radius * torch.autograd.grad(loss, inputs)[0].sign())
        # The step need not cross a boundary; without the label, the class behind the nearest is still the likeliest.
        own = nn.functional.one_hot(examples.labels, pushed.shape[1]).bool()
        return pushed.masked_fill(own, -torch.inf).argmax(1)
