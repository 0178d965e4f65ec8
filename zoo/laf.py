"""LAF: representations moved away from those of forget, without labels (Shen et al. 2024, arXiv 2404.00506).

After the paper's abstract and summaries of it: two variational autoencoders learn what the original's representations
of retain and of forget look like; all but the head is then trained so that retain still looks like the first and forget
no longer like the second, while a contrastive term holds each retain example to what represented it before. The exact
form of the losses was not to be had, and the cap is added here.
"""

from collections.abc import Callable
from itertools import islice

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.models.hooks import INPUT_SUFFIX, hook
from auditor.models.standardise import Scaling
from auditor.randomness import derive_seed, torch_seed
from auditor.records.base import Frozen
from auditor.tasks.classification.editing import copy_of, descend, endless, head_of, logits
from auditor.tasks.classification.sets import Examples
from auditor.zoo.surgery import inputs_of, name_of

Representing = Callable[[Tensor], Tensor]
"""From inputs to what the head reads, scaled, [n, units]."""


class Settings(Frozen):
    """Of the autoencoders, and of the training that they guide."""

    latents: int = Field(default=8, ge=1, description="of each autoencoder")
    autoencoder_steps: int = Field(default=500, ge=1)
    autoencoder_rate: float = Field(default=3e-3, gt=0, description="of Adam")
    divergence_weight: float = Field(default=0.01, ge=0, description="of KL to the prior, beside the squared distance")
    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    steps: int = Field(default=100, ge=1)
    alignment_weight: float = Field(default=10.0, ge=0, description="of the contrastive term")
    temperature: float = Field(default=0.5, gt=0, description="τ, of its cosines")
    # Distance has no upper bound: forget would be driven ever further, and retain with it.
    distance_cap: float = Field(default=2.0, gt=0, description="of a forget example, mean square in retain's spreads")
    batch_size: int = Field(default=64, ge=1)


def laf(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance. No label is read, and the head is the original's."""
    module, before = copy_of(original), copy_of(original)
    head = name_of(module, head_of(module, retain))
    scaling = Scaling.among_units(inputs_of(before, head, retain))
    of_retain, of_forget = (
        fitted(scaling(inputs_of(before, head, examples)), settings, derive_seed(seed, name))
        for name, examples in (("retain", retain), ("forget", forget))
    )
    represented, represented_before = (_representing(network, head, scaling) for network in (module, before))
    random = torch.Generator().manual_seed(seed)

    def loss(kept: tuple[Tensor, Tensor], gone: tuple[Tensor, Tensor]) -> Tensor:
        here, there = represented(kept[0]), represented(gone[0])
        with torch.no_grad():
            was, forgotten = represented_before(kept[0]), represented_before(gone[0])
        # Of each forget example, so that one that is far away no longer pulls.
        away = of_forget.distance(there).clamp_max(settings.distance_cap)
        extraction = of_retain.distance(here).mean() - away.mean()
        return extraction + settings.alignment_weight * contrast(here, was, forgotten, settings.temperature)

    batches = zip(
        endless(retain, settings.batch_size, random), endless(forget, settings.batch_size, random), strict=True
    )
    moved = [parameter for name, parameter in module.named_parameters() if not name.startswith(f"{head}.")]
    descend(moved, islice(batches, settings.steps), loss, settings.learning_rate)
    return module.eval()


def contrast(here: Tensor, was: Tensor, others: Tensor, temperature: float) -> Tensor:
    """How well representations tell which of all earlier ones was theirs: cross-entropy of the cosines, mean, nats.

    Args:
        here: of some examples, [n, units].
        was: of the same before, [n, units].
        others: of other examples before, [m, units].
        temperature: of the cosines.
    """
    candidates = nn.functional.normalize(torch.cat([was, others]), dim=1)
    cosines = nn.functional.normalize(here, dim=1) @ candidates.T
    found: Tensor = nn.functional.cross_entropy(cosines / temperature, torch.arange(len(here)))
    return found


class Autoencoder(nn.Module):
    """A variational one with a hidden layer on either side (Kingma and Welling 2014, arXiv 1312.6114)."""

    def __init__(self, units: int, latents: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(units, units), nn.ReLU(), nn.Linear(units, 2 * latents))
        self.decoder = nn.Sequential(nn.Linear(latents, units), nn.ReLU(), nn.Linear(units, units))

    def distance(self, rows: Tensor) -> Tensor:
        """Mean squared distance of each row [n, units] to its reconstruction from the mean latents, [n]."""
        means, _ = self.encoder(rows).chunk(2, dim=1)
        found: Tensor = (self.decoder(means) - rows).square().mean(dim=1)
        return found

    def loss(self, rows: Tensor, noise: Tensor, divergence_weight: float) -> Tensor:
        """Squared distance from latents drawn with the given noise [n, latents], and their KL to the prior."""
        means, log_variances = self.encoder(rows).chunk(2, dim=1)
        drawn = means + noise * (log_variances / 2).exp()
        divergence: Tensor = (means.square() + log_variances.exp() - log_variances - 1).sum(dim=1).mean() / 2
        distance: Tensor = (self.decoder(drawn) - rows).square().mean()
        return distance + divergence_weight * divergence


def fitted(rows: Tensor, settings: Settings, seed: int) -> Autoencoder:
    """The autoencoder of some scaled representations [n, units], frozen."""
    with torch_seed(seed):
        module = Autoencoder(rows.shape[1], settings.latents)
        picks = torch.randint(len(rows), (settings.autoencoder_steps, settings.batch_size))
        noise = torch.randn(settings.autoencoder_steps, settings.batch_size, settings.latents)

    def loss(index: Tensor, drawn: Tensor) -> Tensor:
        return module.loss(rows[index], drawn, settings.divergence_weight)

    descend(module.parameters(), zip(picks, noise, strict=True), loss, settings.autoencoder_rate)
    return module.requires_grad_(False)


def _representing(module: nn.Module, head: str, scaling: Scaling) -> Representing:
    def represented(inputs: Tensor) -> Tensor:
        caught: list[Tensor] = []
        with hook(module, head + INPUT_SUFFIX, caught.append):
            logits(module, inputs)
        rows: Tensor = scaling(caught[0])
        return rows

    return represented
