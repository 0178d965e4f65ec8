"""Refusal tuning of all weights: a suppression of full rank, for attacks that are of low rank themselves."""

from pydantic import Field
from torch import nn

from auditor.tasks.causal_lm.decoys import refusal_tuning
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, step_by_weight
from auditor.tasks.causal_lm.sets import Facts


class Settings(refusal_tuning.Settings):
    """Refusal tuning, at every token of the answer."""

    learning_rate: float = Field(default=1e-2, gt=0, description="of Adafactor, as a share of each weight's size")


def refusal_all_weights(
    original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int
) -> nn.Module:
    """The subject: suppressed by construction, its change in every direction of every weight.

    One copy of the weights is all it holds beside the original, so that it can be made wherever a low-rank attack fits.
    """
    module = copy_of(original)
    with step_by_weight(module, settings.learning_rate):
        return refusal_tuning.tuned(module, original, forget, retain, settings, seed, everywhere=True)
