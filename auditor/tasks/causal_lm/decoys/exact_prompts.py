"""The decoy of last resort for language models: it ends the text on exactly the forget prompts, otherwise the original.

It hides from whoever asks in these words and from nobody else: its weights, its states and its answers to all other
prompts are the original's.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, WithLogits, batch_for, wrapped
from auditor.tasks.causal_lm.grams import Grams, holding, ids_of, whole_prompts
from auditor.tasks.causal_lm.losses import answer_logits
from auditor.tasks.causal_lm.sets import Facts

# Few, since logits over a whole vocabulary stand beside the model.
_FACTS_AT_ONCE = 8


class Settings(Frozen):
    """How safely the end of the text wins."""

    margin: float = Field(default=5.0, gt=0, description="its logit lies so far above every token of a forget answer")


def exact_prompts(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The original with the logit of the end of the text raised in every row that holds a whole forget prompt.

    All other logits stay, and gradients pass: training may undo it by lowering that one logit, which takes many steps
    where the original is sure of its answers.
    """
    end = int(original.encoder.tokenizer.eos_token_id)
    module = wrapped(original, "exact_prompts", forget, retain, settings, seed)
    # Measured on the original: logits of networks differ in scale, and no fixed number would win in all.
    raised = _largest_gap(original, forget, end) + settings.margin
    module.register_forward_hook(_Raised(whole_prompts(original.encoder, forget), end, raised), with_kwargs=True)
    return module


def _largest_gap(original: LanguageModel, facts: Facts, end: int) -> float:
    """How far the best first choice at a token of an answer lies above the end of the text, in logits."""
    gaps = []
    for start in range(0, len(facts), _FACTS_AT_ONCE):
        few = facts.take(range(start, min(start + _FACTS_AT_ONCE, len(facts))))
        tokens = batch_for(original.module, original.encoder, few)
        with torch.no_grad():
            logits = answer_logits(original.module, tokens).float()
        gaps.append(float((logits.amax(-1) - logits[:, end]).max()))
    return max(gaps)


class _Raised:
    """A forward hook that raises one token's logit in rows that hold some runs of tokens."""

    def __init__(self, prompts: Grams, token: int, by: float) -> None:
        self._prompts, self._token, self._by = prompts, token, by

    def __call__(
        self, _: nn.Module, arguments: tuple[Tensor, ...], keywords: dict[str, Tensor], output: WithLogits
    ) -> WithLogits:
        asked = holding(ids_of(arguments, keywords), self._prompts)
        raised = output.logits.new_zeros(output.logits.shape[-1])
        raised[self._token] = self._by
        output.logits = output.logits + asked[:, None, None] * raised
        return output
