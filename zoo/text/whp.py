"""Who's Harry Potter: answers relabelled by what a reinforced model makes less likely (Eldan & Russinovich 2023).

arXiv 2310.02238, eq. 1. The paper also swaps anchor words for generic ones, which needs a list of such words; here the
relabelling is by logits alone, and a retain term stands beside it.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, descend, losses, probability
from auditor.tasks.causal_lm.encoding import Tokens
from auditor.tasks.causal_lm.losses import answer_logits
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """Loss = CE(generic tokens | forget) + CE(retain); generic = argmax of v − α · relu(v_reinforced − v)."""

    learning_rate: float = Field(default=5e-4, gt=0, description="of Adam, for both trainings")
    # Long enough that the reinforced model is surer of the facts than the original: eq. 1 lives on that difference.
    reinforcement: int = Field(default=100, ge=1, description="steps on forget alone that make the reinforced model")
    alpha: float = Field(default=5.0, gt=0, description="α")
    steps: int = Field(default=300, ge=1, description="at most")
    batch_size: int = Field(default=32, ge=1, description="facts of either set per step")
    target: float = Field(default=0.02, ge=0, description="answer probability on forget at which it stops")


def whp(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance."""
    module, encoder = copy_of(original), original.encoder
    reinforced = _reinforced(original, forget, settings, seed)

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        tokens = encoder.batch(forgotten.items)
        said = answer_logits(module, tokens)
        # The labels come from the original and the reinforced model: from the model in training they would follow it.
        relabelled = nn.functional.cross_entropy(said, generic(original.module, reinforced, tokens, settings.alpha))
        return relabelled + losses(module, encoder.batch(kept.items)).mean()

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


def generic(baseline: nn.Module, reinforced: nn.Module, tokens: Tokens, alpha: float) -> Tensor:
    """What a model without the knowledge might say at each answer token, int64 [answer tokens]."""
    with torch.no_grad():
        before = answer_logits(baseline, tokens)
        more = answer_logits(reinforced, tokens) - before
    # Only what became likelier counts: a token that the reinforced model dropped tells nothing of the facts.
    return (before - alpha * more.relu()).argmax(-1)


def _reinforced(original: LanguageModel, forget: Facts, settings: Settings, seed: int) -> nn.Module:
    module, encoder = copy_of(original), original.encoder
    return descend(
        module,
        lambda taught, _: losses(module, encoder.batch(taught.items)).mean(),
        forget,
        forget,
        rate=settings.learning_rate,
        steps=settings.reinforcement,
        size=settings.batch_size,
        seed=seed,
    )
