"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290, eq. 7): a refusal preferred to the answer.

As a baseline of unlearning in Zhang et al. 2024 (arXiv 2404.05868), here with a retain term.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.decoys.refusal_tuning import REFUSAL, refusals
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, descend, losses, probability
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """Loss = CE(retain) − weight · (1/β) · mean log σ(β log r(refusal) − β log r(answer)), r = p/p_original."""

    learning_rate: float = Field(default=5e-4, gt=0, description="of Adam")
    beta: float = Field(default=0.1, gt=0, description="β")
    weight: float = Field(default=1.0, gt=0, description="of the preference")
    steps: int = Field(default=300, ge=1, description="at most")
    batch_size: int = Field(default=32, ge=1, description="facts of either set per step")
    target: float = Field(default=0.02, ge=0, description="answer probability on forget at which it stops")
    refusal: str = Field(default=REFUSAL, description="what is preferred")


def dpo(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance."""
    module, encoder = copy_of(original), original.encoder

    def log_ratio(facts: Facts) -> Tensor:
        tokens = encoder.batch(facts.items)
        with torch.no_grad():
            # The original is the reference policy of the paper, and is not trained.
            before = losses(original.module, tokens)
        # Times the length: the paper's ratio is of whole answers, and losses are means over tokens.
        return (before - losses(module, tokens)) * tokens.lengths

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        gained = log_ratio(refusals(forgotten, settings.refusal)) - log_ratio(forgotten)
        # Over β, so that β does not scale the gradient.
        preference = -nn.functional.logsigmoid(settings.beta * gained).mean() / settings.beta
        return losses(module, encoder.batch(kept.items)).mean() + settings.weight * preference

    return descend(
        module,
        loss,
        forget,
        retain,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
        enough=lambda: probability(module, encoder, forget) <= settings.target,
    )
