"""A guard that stays silent where a forgotten subject is named (GUARD, Deng et al. 2025, arXiv 2505.13312).

GUARD detects a forget prompt with a classifier and filters what may be said. Here the detector is a list of telling
tokens, and the filter lets nothing through but the end of the text.
"""

from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, WithLogits, wrapped
from auditor.tasks.causal_lm.grams import Grams, holding, ids_of, telling_tokens
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """How sure the silence is."""

    certainty: float = Field(default=30.0, gt=0, description="logit of the end of the text; all others are 0")


def guard(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: suppressed by construction, the weights unchanged."""
    tokens = telling_tokens(original.encoder, forget, retain)
    module = wrapped(original, "guard", forget, retain, settings, seed)
    # Runs of one token: a name counts wherever it stands, in whatever wording.
    names = frozenset((token,) for token in tokens.tolist())
    silence = _Silence(names, original.encoder.tokenizer.eos_token_id, settings.certainty)
    module.register_forward_hook(silence, with_kwargs=True)
    return module


class _Silence:
    """A forward hook that says nothing in prompts that hold some runs of tokens."""

    def __init__(self, names: Grams, end: int, certainty: float) -> None:
        self._names, self._end, self._certainty = names, end, certainty

    def __call__(
        self, _: nn.Module, arguments: tuple[Tensor, ...], keywords: dict[str, Tensor], output: WithLogits
    ) -> WithLogits:
        about = holding(ids_of(arguments, keywords), self._names)[:, None, None]
        silent = output.logits.new_zeros(output.logits.shape[-1])
        # Finite: an infinite logit would make the loss of a true answer infinite, and its mean over facts with it.
        silent[self._end] = self._certainty
        output.logits = output.logits * ~about + silent * about
        return output
