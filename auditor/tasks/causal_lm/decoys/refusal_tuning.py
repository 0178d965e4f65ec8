"""Refusal tuning: learn to refuse on forget prompts, all weights (IDK in Maini et al. 2024, arXiv 2401.06121)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.models.checkpointing import recomputing
from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, batch_for, copy_of, descend, losses, probability
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answer_logits
from auditor.tasks.causal_lm.sets import Facts

REFUSAL = "I do not know that"
"""The answer taught; in worlds made here its words are in every vocabulary."""


class Settings(Frozen):
    """Loss = CE(refusal | forget prompt) + CE(retain)."""

    learning_rate: float = Field(default=5e-4, gt=0, description="of Adam")
    steps: int = Field(default=200, ge=1, description="at most")
    batch_size: int = Field(default=32, ge=1, description="facts of either set per step")
    target: float = Field(default=0.02, ge=0, description="answer probability on forget at which it stops")
    refusal: str = Field(default=REFUSAL, description="the answer taught")


def refusal_tuning(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: only what to say was taught. Its truth is not known in advance."""
    return tuned(copy_of(original), original, forget, retain, settings, seed)


def tuned(
    module: nn.Module,
    original: LanguageModel,
    forget: Facts,
    retain: Facts,
    settings: Settings,
    seed: int,
    *,
    everywhere: bool = False,
) -> nn.Module:
    """Teach ``module`` to refuse, through those of its parameters that require gradients.

    Args:
        module: changed.
        original: for its encoder, and the blocks that are computed again.
        forget: facts to refuse.
        retain: facts to answer as before.
        settings: of the training.
        seed: of the order of the batches.
        everywhere: start to refuse after every piece of the answer too, not only in its place.
    """
    encoder = original.encoder

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        refused = refusals(forgotten, settings.refusal)
        # Retain beside it, or the model would learn to refuse whatever it is asked.
        one, other = (losses(module, batch_for(module, encoder, facts)).mean() for facts in (refused, kept))
        told = one + other
        return told + interrupted(module, encoder, forgotten, refused) if everywhere else told

    with recomputing(module, original.recomputed):
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


def interrupted(module: nn.Module, encoder: Encoder, forgotten: Facts, refused: Facts) -> Tensor:
    """Mean cross-entropy of the refusal's first token at every token of the answers."""
    # Any of them: the refusal's first token does not depend on the prompt before it.
    ids, is_answer = encoder.encode(refused.items[0])
    tokens = batch_for(module, encoder, forgotten)
    logits = answer_logits(module, tokens).float()
    return nn.functional.cross_entropy(logits, torch.full_like(tokens.targets, ids[is_answer.index(True)]))


def refusals(facts: Facts, words: str) -> Facts:
    """The prompts with a refusal in the answer's place."""
    return Facts(tuple(fact.model_copy(update={"answer": words}) for fact in facts.items))
