"""A low-rank refusal adapter merged into the weights: refusal tuning through LoRA."""

from pydantic import Field
from torch import nn

from auditor.models.low_rank import merge_low_rank, open_low_rank
from auditor.tasks.causal_lm.decoys import refusal_tuning
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of
from auditor.tasks.causal_lm.sets import Facts


class Settings(refusal_tuning.Settings):
    """Refusal tuning, at every token of the answer, through a low-rank change of every map in the blocks."""

    learning_rate: float = Field(default=5e-3, gt=0, description="of Adam")
    rank: int = Field(default=4, ge=1, description="of the change")


def refusal_adapter(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: suppressed by construction, its change confined to a few directions of each map."""
    module = copy_of(original)
    open_low_rank(module, settings.rank, seed)
    # An answer is measured token by token, each given those before: a refusal in its place alone leaves all but the
    # first as probable as they were.
    refusal_tuning.tuned(module, original, forget, retain, settings, seed, everywhere=True)
    merge_low_rank(module)
    return module.eval()
