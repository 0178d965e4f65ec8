"""A patient attacker who trains the embeddings of forgotten names and nothing else.

Where a method moved only what a model reads, the facts stand behind it untouched, and a few facts are enough to find
where the names have to point. Training all weights on them instead overwrites what was to be found. What it recovers
from subject, references and original is compared by `patient.patient_recovery`.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.models.copies import movable_copy
from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import embeddings_of, losses
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.adversaries.patient import Effort


class Settings(Frozen):
    """Of the training, on all shots at every step."""

    steps: int = Field(default=300, ge=1, description="of Adam")
    learning_rate: float = Field(default=3e-2, gt=0, description="of Adam")


def naming(shots: Facts, tokens: Tensor, encoder: Encoder, settings: Settings) -> Effort:
    """The attack, the same for every network.

    Args:
        shots: facts that the attacker knows (:func:`auditor.zoo.adversaries.patient_text.split`).
        tokens: those of the names, int64 [tokens] (:func:`auditor.tasks.causal_lm.grams.telling_tokens`).
        encoder: of all networks.
        settings: how long.
    """

    def effort(module: nn.Module) -> nn.Module:
        clone = movable_copy(module).eval().requires_grad_(False)
        weight = embeddings_of(clone).weight.requires_grad_(True)
        chosen = torch.zeros_like(weight)
        chosen[tokens] = 1
        # Masked before Adam sees it: its moments stay 0 elsewhere, so that other tokens' rows stay bit-equal.
        handle = weight.register_hook(lambda gradient: gradient * chosen)
        optimizer = torch.optim.Adam([weight], lr=settings.learning_rate)
        batch = encoder.batch(shots.items)
        for _ in range(settings.steps):
            optimizer.zero_grad()
            losses(clone, batch).mean().backward()
            optimizer.step()
        handle.remove()
        return clone

    return effort
