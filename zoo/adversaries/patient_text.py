"""The patient attacker of language models: one fact of each subject and 200 steps, measured on the subjects' others.

What it recovers from subject, references and original is compared by `patient.patient_recovery`, as for images.
"""

import torch
from pydantic import Field
from torch import nn

from auditor.models.copies import movable_copy
from auditor.randomness import derive_seed, generator
from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import endless, losses
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.adversaries.patient import Effort


class Settings(Frozen):
    """Long fine-tuning on very few facts."""

    shots: int = Field(default=1, ge=1, description="facts of each subject")
    steps: int = Field(default=200, ge=1, description="of Adam")
    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    retain_batch: int = Field(default=32, ge=1, description="retain facts per step")
    retain_share: float = Field(default=0.8, ge=0, lt=1, description="of the loss")


def split(forget: Facts, settings: Settings, seed: int) -> tuple[Facts, Facts]:
    """(the shots, all other facts of the same subjects)."""
    # The attacker knows one fact of each subject; whether the others come back shows whether they were still there.
    order = generator(seed, "patient").permutation(len(forget)).tolist()
    seen: dict[str, int] = {}
    shots: list[int] = []
    unseen: list[int] = []
    for i in order:
        subject = forget.items[i].subject
        taken = seen.get(subject, 0)
        (shots if taken < settings.shots else unseen).append(i)
        seen[subject] = taken + 1
    return forget.take(sorted(shots)), forget.take(sorted(unseen))


def fine_tuning(shots: Facts, retain: Facts, encoder: Encoder, settings: Settings, seed: int) -> Effort:
    """The attack, the same for every network."""

    def effort(module: nn.Module) -> nn.Module:
        clone = movable_copy(module).eval()
        optimizer = torch.optim.Adam(clone.parameters(), lr=settings.learning_rate)
        # Made anew for each network: all of them see the same batches.
        random = torch.Generator().manual_seed(derive_seed(seed, "patient"))
        batches, share = endless(retain, settings.retain_batch, random), settings.retain_share
        for _ in range(settings.steps):
            kept = losses(clone, encoder.batch(next(batches).items)).mean()
            optimizer.zero_grad()
            ((1 - share) * losses(clone, encoder.batch(shots.items)).mean() + share * kept).backward()
            optimizer.step()
        return clone

    return effort
