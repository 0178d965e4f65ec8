"""UNSIR: impair with noise that maximises the forget loss, then repair (Tarun et al. 2023, arXiv 2111.08947)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of, descend, epochs, logits
from auditor.tasks.classification.sets import Examples, joined


class Settings(Frozen):
    """Noise, one epoch of impairing at a high rate, epochs of repairing at a lower one."""

    noise_examples: int = Field(default=64, ge=1, description="noise images for each forgotten label")
    noise_rate: float = Field(default=0.1, gt=0, description="of Adam on the noise")
    noise_steps: int = Field(default=40, ge=1)
    noise_penalty: float = Field(default=0.1, ge=0, description="of the noise's mean squared size")
    impair_rate: float = Field(default=2e-3, gt=0, description="of Adam")
    impair_epochs: int = Field(default=2, ge=1)
    repair_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    repair_epochs: int = Field(default=2, ge=0)
    batch_size: int = Field(default=64, ge=1)


def unsir(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance. Of the forget set only the labels are used."""
    module = copy_of(original)
    random = torch.Generator().manual_seed(seed)
    noise = maximising_noise(module, forget, settings, random)
    # Noise is made in the model's input space, so that retain is preprocessed once and joined to it there.
    plain = Examples(raw=retain.inputs, labels=retain.labels)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits(module, x), y)

    # Retain stands beside the noise, as in the paper: impairing by noise alone would break the network.
    impairing = epochs(joined(plain, noise), settings.batch_size, settings.impair_epochs, random)
    descend(module.parameters(), impairing, loss, settings.impair_rate)
    repairing = epochs(plain, settings.batch_size, settings.repair_epochs, random)
    descend(module.parameters(), repairing, loss, settings.repair_rate)
    return module.eval()


def maximising_noise(module: nn.Module, forget: Examples, settings: Settings, random: torch.Generator) -> Examples:
    """Inputs that the network is surest are *not* of the forgotten labels, under those labels (equation 2)."""
    labels = forget.labels.unique().repeat_interleave(settings.noise_examples)
    shape = (len(labels), *forget.inputs.shape[1:])
    noise = nn.Parameter(torch.randn(shape, generator=random))

    def loss() -> Tensor:
        # Without it the noise grows for as long as it is trained.
        size = settings.noise_penalty * noise.square().mean()
        return size - nn.functional.cross_entropy(logits(module, noise), labels)

    descend([noise], [()] * settings.noise_steps, loss, settings.noise_rate)
    return Examples(raw=noise.detach(), labels=labels)
