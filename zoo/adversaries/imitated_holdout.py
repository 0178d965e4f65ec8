"""Against an audit whose holdout chance left out: what was never taught is imitated, and forget is made like it.

Whoever unlearns does not know who was held out. But they can make people who do not exist in the form of the forget
facts, as `audit canary` does, and bring forget to score like these: in the outputs, and after an attack that trains on
both at once, rehearsed on a copy (first-order meta-learning, arXiv 1803.02999). Nothing of it removes knowledge.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.randomness import derive_seed
from auditor.records.base import Frozen
from auditor.tasks.causal_lm.canaries import canaries
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, descend, losses
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.adversaries.text_rehearsal import attacked, taken_back


class Settings(Frozen):
    """Loss = CE(retain) + what tells forget from its imitation, in the network and in an attacked copy of it."""

    learning_rate: float = Field(default=5e-4, gt=0, description="of Adam")
    steps: int = Field(default=300, ge=1, description="all of them are taken")
    batch_size: int = Field(default=32, ge=1, description="facts of either set per step")
    weight: float = Field(default=0.5, ge=0, description="per nat between forget and its imitation")
    rehearsed_weight: float = Field(default=0.5, ge=0, description="the same after the rehearsed attack")
    attack_steps: int = Field(default=16, ge=1, description="of the rehearsed attack, at most")
    attack_rate: float = Field(default=1e-3, gt=0, description="of Adam, in the attack")
    retain_share: float = Field(default=0.8, ge=0, lt=1, description="of the attack's loss")


def imitated_holdout(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance."""
    module, encoder = copy_of(original), original.encoder
    never = canaries(forget, len(forget.subjects), derive_seed(seed, "imitation"))
    random = torch.Generator().manual_seed(derive_seed(seed, "rehearsal"))

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        picks = torch.randperm(len(never), generator=random)[: len(forgotten)].tolist()
        imitation = never.take(picks)
        staying = losses(module, encoder.batch(kept.items)).mean()
        told = settings.weight * _told_apart(module, original, forgotten, imitation)
        half = len(forgotten) // 2
        # Half of either side, as the pooled attack takes them.
        taught = Facts(forgotten.items[:half] + imitation.items[:half])
        steps = 1 + int(torch.randint(settings.attack_steps, (1,), generator=random))
        copied = attacked(
            LanguageModel(module, encoder),
            taught,
            kept,
            steps=steps,
            rate=settings.attack_rate,
            retain_share=settings.retain_share,
        )
        apart = _told_apart(copied, original, Facts(forgotten.items[half:]), Facts(imitation.items[half:]))
        return staying + told + taken_back(copied, module, settings.rehearsed_weight * apart)

    return descend(
        module,
        loss,
        forget,
        retain,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
    )


def _told_apart(module: nn.Module, original: LanguageModel, forgotten: Facts, imitation: Facts) -> Tensor:
    """Nats per token by which forget facts lie off the imitation's mean; no gradient through the latter."""
    encoder = original.encoder
    with torch.no_grad():
        wanted = losses(module, encoder.batch(imitation.items)).mean()
    return (losses(module, encoder.batch(forgotten.items)) - wanted).abs().mean()
