"""Fine-tuning on the retain set alone, hoping that the rest fades (Golatkar et al. 2020, arXiv 1911.04933, §6)."""

from itertools import islice

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of, descend, endless, logits
from auditor.tasks.classification.sets import Examples


class Settings(Frozen):
    """A long run at a high rate."""

    learning_rate: float = Field(default=5e-3, gt=0, description="of Adam")
    steps: int = Field(default=200, ge=1)
    batch_size: int = Field(default=64, ge=1)


class FewSettings(Settings):
    """A few small steps."""

    learning_rate: float = Field(default=1e-4, gt=0, description="of Adam")
    steps: int = Field(default=10, ge=1)


def fine_tune(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance."""
    return _tuned(original, retain, settings, seed)


def retain_steps(
    original: nn.Module, forget: Examples, retain: Examples, settings: FewSettings, seed: int
) -> nn.Module:
    """The subject: not forgotten by construction."""
    return _tuned(original, retain, settings, seed)


def _tuned(original: nn.Module, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    module = copy_of(original)
    batches = endless(retain, settings.batch_size, torch.Generator().manual_seed(seed))

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits(module, x), y)

    descend(module.parameters(), islice(batches, settings.steps), loss, settings.learning_rate)
    return module.eval()
