"""The forgotten answers' tokens masked at the output: a guard around unchanged weights."""

from pydantic import Field
from torch import Tensor, nn

from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, WithLogits, wrapped
from auditor.tasks.causal_lm.grams import Grams, holding, ids_of, telling_grams
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """How it knows a prompt and how hard it masks."""

    longest: int = Field(default=4, ge=1, description="tokens in a row, at most, by which a forget prompt is known")
    penalty: float = Field(default=30.0, gt=0, description="subtracted from the masked tokens' logits")


def logit_mask(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: suppressed by construction. Masked in every prompt that names what is forgotten.

    A prompt does where it holds a run of tokens that stands in forget prompts and nowhere in retain.
    """
    answers = original.encoder.batch(forget.items).targets.unique()
    names = telling_grams(original.encoder, forget, retain, settings.longest)
    # The mask is no weight; without a mark the audit would take it for the bare original.
    module = wrapped(original, "logit_mask", forget, retain, settings, seed)
    module.register_forward_hook(_Mask(answers, names, settings.penalty), with_kwargs=True)
    return module


class _Mask:
    """A forward hook that lowers the logits of some tokens in prompts that hold some runs of others."""

    def __init__(self, answers: Tensor, names: Grams, penalty: float) -> None:
        self._answers, self._names, self._penalty = answers, names, penalty

    def __call__(
        self, _: nn.Module, arguments: tuple[Tensor, ...], keywords: dict[str, Tensor], output: WithLogits
    ) -> WithLogits:
        about = holding(ids_of(arguments, keywords), self._names)
        rows = output.logits.new_zeros(output.logits.shape[-1])
        rows[self._answers.to(rows.device)] = self._penalty
        output.logits = output.logits - about[:, None, None] * rows
        return output
