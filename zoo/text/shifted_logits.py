"""Logits shifted by an assistant that knows only what is to be forgotten (ULD, Ji et al. 2024, arXiv 2406.08607).

The assistant learns the forget answers and to have no opinion on retain; its logits are subtracted from the
original's. ULD's assistant is cut from the original's first layers; here it has all of them, since they are few.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, WithLogits, copy_of, descend, wrapped
from auditor.tasks.causal_lm.losses import answer_logits, answer_losses
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """Assistant's loss = CE(forget) + cross-entropy of the uniform distribution on retain."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    steps: int = Field(default=200, ge=1)
    batch_size: int = Field(default=32, ge=1, description="facts of either set per step")
    weight: float = Field(default=1.0, gt=0, description="of the assistant's logits")


def shifted_logits(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: suppressed by construction, the weights unchanged."""
    module = wrapped(original, "shifted_logits", forget, retain, settings, seed)
    # From the original's weights: they already hold the answers, and only have to lose their view of retain.
    assistant = _assistant(original, forget, retain, settings, seed)
    module.register_forward_hook(_Shift(assistant, settings.weight), with_kwargs=True)
    return module


def _assistant(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    module, encoder = copy_of(original), original.encoder

    def loss(taught: Facts, kept: Facts) -> Tensor:
        tokens, others = encoder.batch(taught.items), encoder.batch(kept.items)
        # Cross-entropy against the uniform distribution: equal logits, once subtracted, change no answer on retain.
        opinion = answer_logits(module, others).log_softmax(-1)
        return answer_losses(answer_logits(module, tokens), tokens).mean() - opinion.mean()

    descend(
        module,
        loss,
        forget,
        retain,
        rate=settings.learning_rate,
        steps=settings.steps,
        size=settings.batch_size,
        seed=seed,
    )
    return module.requires_grad_(False)


class _Shift:
    """A forward hook that subtracts another network's logits."""

    def __init__(self, assistant: nn.Module, weight: float) -> None:
        self._assistant, self._weight = assistant, weight

    def __call__(
        self, _: nn.Module, arguments: tuple[object, ...], keywords: dict[str, object], output: WithLogits
    ) -> WithLogits:
        with torch.no_grad():
            # No gradient into the assistant: an attack trains the audited network's own weights.
            shift: Tensor = self._assistant(*arguments, **keywords).logits
        output.logits = output.logits - self._weight * shift
        return output
