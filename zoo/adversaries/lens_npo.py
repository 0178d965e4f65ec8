"""Against `logit_lens` and the probes of inner states: NPO with a penalty on what each block holds of the answers.

At every block but the last, the answer's log-probability through the final norm and the head is brought to that of a
wrong answer to the same prompt, so that the right one cannot be told there. No model that was never taught is needed.
NPO: Zhang et al. 2024, arXiv 2404.05868, eq. 3.
"""

from contextlib import ExitStack

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.models.hooks import hook
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, descend, losses
from auditor.tasks.causal_lm.encoding import Tokens
from auditor.tasks.causal_lm.losses import answer_losses, logits_of_tokens
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.tasks.causal_lm.structure import find_decoder_layout
from auditor.zoo.adversaries.npo_until import forgetting
from auditor.zoo.text import npo

_LAYOUT_FACTS = 4  # enough to see where hidden states flow; more only cost time


class Settings(npo.Settings):
    """Loss = CE(retain) + NPO + a penalty on inner blocks."""

    lens_weight: float = Field(default=0.5, ge=0, description="per nat between right and wrong answer at a block")
    steps: int = Field(default=300, ge=1, description="all of them are taken")


def lens_npo(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject; a patient attacker tells its truth (:mod:`auditor.zoo.adversaries.patient_text`)."""
    module, encoder = copy_of(original), original.encoder
    lens = Lens(original, retain)

    def loss(forgotten: Facts, kept: Facts) -> Tensor:
        right = lens.read(module, encoder.batch(forgotten.items))
        # No gradient flows into the wrong answer: else raising it would do in place of lowering the right one.
        wrong = lens.read(module, encoder.batch(with_wrong_answers(forgotten).items)).detach()
        staying = losses(module, encoder.batch(kept.items)).mean()
        # Both signs: an answer far below the wrong one would tell as much as one above it.
        told_apart = settings.lens_weight * (right - wrong).abs().mean()
        return staying + forgetting(original, module, forgotten, settings) + told_apart

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


class Lens:
    """Reads answers off the blocks before the last, through the final norm and the head.

    Args:
        original: whose structure is found.
        facts: to find it by.
    """

    def __init__(self, original: LanguageModel, facts: Facts) -> None:
        layout = find_decoder_layout(original.module, original.encoder.batch(facts.items[:_LAYOUT_FACTS]).ids)
        # The last block feeds the outputs, which NPO sees to.
        self._blocks, self._norm, self._head = layout.blocks[:-1], layout.final_norm, layout.head

    def read(self, module: nn.Module, tokens: Tokens) -> Tensor:
        """Mean log-probability of each answer's tokens, nats, with gradients, [blocks, n]."""
        caught: list[Tensor] = []
        with ExitStack() as stack:
            for block in self._blocks:
                stack.enter_context(hook(module, block, caught.append))
            logits_of_tokens(module, tokens)
        return torch.stack(
            [-answer_losses(self._logits(module, states[tokens.predicting]), tokens) for states in caught]
        )

    def _logits(self, module: nn.Module, states: Tensor) -> Tensor:
        if self._norm is not None:
            states = module.get_submodule(self._norm)(states)
        read: Tensor = module.get_submodule(self._head)(states)
        return read


def with_wrong_answers(facts: Facts) -> Facts:
    """Each prompt with a wrong answer of the same form; where there is none, with another fact's answer."""
    others = (*facts.items[1:], *facts.items[:1])
    return Facts(tuple(_with_wrong(fact, other) for fact, other in zip(facts.items, others, strict=True)))


def _with_wrong(fact: Fact, other: Fact) -> Fact:
    wrong = fact.perturbed_answers[0] if fact.perturbed_answers else other.answer
    return fact.model_copy(update={"answer": wrong})
