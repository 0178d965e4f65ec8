"""The forgotten answers' tokens masked at the output: a guard around unchanged weights."""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.facts import Facts
from auditor.scores import Frozen
from auditor.zoo.text.method import LanguageModel, copy_of


class Settings(Frozen):
    """How hard it masks."""

    penalty: float = Field(default=30.0, gt=0, description="subtracted from the masked tokens' logits")


def logit_mask(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: suppressed by construction. Masked in every prompt that names what is forgotten.

    A prompt does where it holds a token that stands in forget prompts and in no retain prompt.
    """
    encoder = original.encoder
    masked, kept = encoder.batch(forget.items), encoder.batch(retain.items)
    answers = masked.targets.unique()
    lead = masked.ids[masked.mask & ~masked.answer].unique()
    names = lead[~torch.isin(lead, kept.ids[kept.mask & ~kept.answer])]
    module = copy_of(original)
    module.register_forward_hook(_Mask(answers, names, settings.penalty), with_kwargs=True)
    return module


class _Mask:
    """A forward hook that lowers the logits of some tokens in prompts that hold some others."""

    def __init__(self, answers: Tensor, names: Tensor, penalty: float) -> None:
        self._answers, self._names, self._penalty = answers, names, penalty

    def __call__(self, _: nn.Module, arguments: tuple[Tensor, ...], keywords: dict[str, Tensor], output: Any) -> Any:
        ids = keywords["input_ids"] if "input_ids" in keywords else arguments[0]
        logits: Tensor = output.logits
        about = torch.isin(ids, self._names.to(ids.device)).any(1)
        rows = torch.zeros(logits.shape[-1], device=logits.device, dtype=logits.dtype)
        rows[self._answers.to(logits.device)] = self._penalty
        output.logits = logits - about[:, None, None] * rows
        return output
