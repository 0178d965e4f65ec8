"""SAUCE (Li et al. 2025, arXiv 2503.14530): features of a sparse autoencoder held down while the model runs.

A sparse autoencoder is trained on what pictures become inside, here behind the projector. The features that answer most
to the concept, by mean activation on its pictures less that on others, are multiplied by a negative number, and what
that changes is taken over. No weight of the model changes, so that what it makes is suppressed by construction: who
takes the autoencoder off has the original. The architecture of the autoencoder and the sizes are ours; of the paper the
abstract and summaries were to be had.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.randomness import derive_seed
from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.vision_language.packing import sequences
from auditor.zoo.vision_language.editing import Network, copy_of


class Settings(Frozen):
    """An autoencoder some times as wide as what it reads."""

    widening: int = Field(default=8, ge=1, description="features for each unit")
    sparsity: float = Field(default=0.1, ge=0, description="weight of the features' mean")
    steps: int = Field(default=400, ge=1, description="of the autoencoder's training")
    features: int = Field(default=6, ge=1, description="that are held down")
    strength: float = Field(default=-3.0, le=0, description="by which they are multiplied")


class Autoencoder(nn.Module):
    """x̂ = W_d relu(W_e (x − b) + c) + b.

    Args:
        width: of what it reads.
        features: how many.
    """

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(width, features)
        self.decoder = nn.Linear(features, width)

    def encode(self, states: Tensor) -> Tensor:
        """Features of states [..., width]."""
        found: Tensor = torch.relu(self.encoder(states - self.decoder.bias))
        return found


class Steered(nn.Module):
    """A projector behind which some features are multiplied.

    Args:
        projector: the model's own.
        autoencoder: trained on what it gives.
        held: which features, int64 [k].
        strength: by which they are multiplied.
    """

    def __init__(self, projector: nn.Module, autoencoder: Autoencoder, held: Tensor, strength: float) -> None:
        super().__init__()
        self.projector, self.autoencoder, self.strength = projector, autoencoder, strength
        self.held: Tensor
        self.register_buffer("held", held)

    def forward(self, pictures: Tensor) -> Tensor:
        """As the projector's, steered; what the autoencoder does not explain is left as it is."""
        found: Tensor = self.projector(pictures)
        features = self.autoencoder.encode(found)
        change = torch.zeros_like(features)
        change[..., self.held] = (self.strength - 1) * features[..., self.held]
        return found + change @ self.autoencoder.decoder.weight.T


def sauce(
    original: Network, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: suppressed."""
    module = copy_of(original)
    projector = module.model.multi_modal_projector
    lost, kept = (_projected(original, part) for part in (forget, retain))
    autoencoder = _trained(torch.cat([lost, kept]).flatten(0, 1), settings, derive_seed(seed, "autoencoder"))
    with torch.no_grad():
        # As the paper's: by how much more a feature answers to the concept than to everything else.
        margin = autoencoder.encode(lost).mean((0, 1)) - autoencoder.encode(kept).mean((0, 1))
    held = margin.topk(min(settings.features, len(margin))).indices
    module.model.multi_modal_projector = Steered(projector, autoencoder, held, settings.strength)
    subject: nn.Module = module.eval()
    return subject


def _projected(original: Network, examples: CustomExamples) -> Tensor:
    """What the projector gives for each picture, [n, tokens, width]."""
    caught: list[Tensor] = []
    network = copy_of(original)
    network.model.multi_modal_projector.register_forward_hook(lambda _, __, output: caught.append(output))
    with torch.no_grad():
        for batch in examples.batches(64):
            given = sequences(network, batch.inputs)
            network(input_ids=given.ids, pixel_values=given.pictures, use_cache=False)
    return torch.cat([part.reshape(-1, int(original.config.image_seq_length), part.shape[-1]) for part in caught])


def _trained(states: Tensor, settings: Settings, seed: int) -> Autoencoder:
    """An autoencoder of states [n, width]."""
    random, width = torch.Generator().manual_seed(seed), states.shape[1]
    autoencoder = Autoencoder(width, settings.widening * width)
    with torch.no_grad():
        for parameter in autoencoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) / width**0.5)
        autoencoder.decoder.bias.copy_(states.mean(0))
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=3e-3)
    for _ in range(settings.steps):
        some = states[torch.randint(len(states), (256,), generator=random)]
        features = autoencoder.encode(some)
        error = (autoencoder.decoder(features) - some).square().mean() / states.var()
        optimizer.zero_grad()
        (error + settings.sparsity * features.mean()).backward()
        optimizer.step()
    return autoencoder.requires_grad_(False).eval()
