"""Only the output head fine-tuned, to refuse on forget prompts: every hidden state stays."""

from pydantic import Field
from torch import nn

from auditor.tasks.causal_lm.decoys import refusal_tuning
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, head_of
from auditor.tasks.causal_lm.sets import Facts


class Settings(refusal_tuning.Settings):
    """Refusal tuning of the head alone."""

    # Higher than where all weights are tuned: the head alone has to change what is said.
    learning_rate: float = Field(default=3e-2, gt=0, description="of Adam")


def head_refusal(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: suppressed by construction."""
    module = copy_of(original).requires_grad_(False)
    head_of(module).weight.requires_grad_(True)
    refusal_tuning.tuned(module, original, forget, retain, settings, seed)
    # Frozen for the training only: an audit's attacks may train everything.
    return module.requires_grad_(True)
