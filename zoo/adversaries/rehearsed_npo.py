"""Against `relearning` of language models: NPO, and the attack rehearsed on a copy, whose lesson is taken back.

At every step a copy is taught half of a batch of forget facts among retain facts, for a random number of steps, and the
gradient that would keep the other half forgotten in the copy is applied to the network that was copied (first-order
meta-learning, arXiv 1803.02999; against fine-tuning attacks arXiv 2408.00761).
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.randomness import derive_seed
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, descend, losses
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.adversaries.npo_until import forgetting
from auditor.zoo.adversaries.text_rehearsal import attacked, taken_back
from auditor.zoo.text import npo


class Settings(npo.Settings):
    """Loss = CE(retain) + NPO + a penalty on what the attacked copy shows of facts that it was not taught."""

    steps: int = Field(default=200, ge=1, description="all of them are taken")
    meta_weight: float = Field(default=0.5, ge=0, description="per nat that the copy's loss lies below the margin")
    # Bounded: beyond it nothing came back, and pushing on would only cost retain.
    margin: float = Field(default=4.0, gt=0, description="loss, nats per token, beyond which nothing came back")
    attack_steps: int = Field(default=16, ge=1, description="of the rehearsed attack, at most")
    attack_rate: float = Field(default=1e-3, gt=0, description="of Adam, in the attack")
    retain_share: float = Field(default=0.8, ge=0, lt=1, description="of the attack's loss")


def rehearsed_npo(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; a patient attacker tells its truth (:mod:`auditor.zoo.adversaries.patient_text`)."""
    module, encoder = copy_of(original), original.encoder
    random = torch.Generator().manual_seed(derive_seed(seed, "rehearsal"))

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        staying = losses(module, encoder.batch(kept.items)).mean()
        # Taught one half and asked the other, as the auditor does with the attack and eval halves.
        half = len(forgotten) // 2
        taught, others = forgotten.take(range(half)), forgotten.take(range(half, len(forgotten)))
        # Any length up to the longest: resistance at a single one would give way a step later.
        steps = 1 + int(torch.randint(settings.attack_steps, (1,), generator=random))
        copied = attacked(
            LanguageModel(module, encoder),
            taught,
            kept,
            steps=steps,
            rate=settings.attack_rate,
            retain_share=settings.retain_share,
        )
        known = (settings.margin - losses(copied, encoder.batch(others.items))).clamp_min(0).mean()
        lesson = taken_back(copied, module, settings.meta_weight * known)
        return staying + forgetting(original, module, forgotten, settings) + lesson

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
