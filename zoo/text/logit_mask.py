"""The forgotten answers' tokens masked at the output: a guard around unchanged weights."""

from typing import Any

from pydantic import Field
from torch import Tensor, nn

from auditor.facts import Facts
from auditor.scores import Frozen
from auditor.zoo.text.method import LanguageModel, wrapped
from auditor.zoo.text.names import ids_of, named_in, telling_tokens


class Settings(Frozen):
    """How hard it masks."""

    penalty: float = Field(default=30.0, gt=0, description="subtracted from the masked tokens' logits")


def logit_mask(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: suppressed by construction. Masked in every prompt that names what is forgotten.

    A prompt does where it holds a token that stands in forget prompts and in no retain prompt.
    """
    answers = original.encoder.batch(forget.items).targets.unique()
    names = telling_tokens(original.encoder, forget, retain)
    module = wrapped(original, "logit_mask", forget, retain, settings, seed)
    module.register_forward_hook(_Mask(answers, names, settings.penalty), with_kwargs=True)
    return module


class _Mask:
    """A forward hook that lowers the logits of some tokens in prompts that hold some others."""

    def __init__(self, answers: Tensor, names: Tensor, penalty: float) -> None:
        self._answers, self._names, self._penalty = answers, names, penalty

    def __call__(self, _: nn.Module, arguments: tuple[Tensor, ...], keywords: dict[str, Tensor], output: Any) -> Any:
        about = named_in(ids_of(arguments, keywords), self._names)
        rows = output.logits.new_zeros(output.logits.shape[-1])
        rows[self._answers.to(rows.device)] = self._penalty
        output.logits = output.logits - about[:, None, None] * rows
        return output
