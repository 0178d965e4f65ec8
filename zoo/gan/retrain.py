"""Retraining without the forget set: exact unlearning by definition (Bourtoule et al. 2021, arXiv 1912.03817, §III)."""

from torch import nn

from auditor.models.training import train
from auditor.records.spec import RecipeSpec
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.fresh import fresh_like
from auditor.zoo.gan.digits import RECIPE, loss


class Settings(RecipeSpec):
    """The original's recipe; by default that of the small digits."""

    epochs: int = RECIPE.epochs
    batch_size: int = RECIPE.batch_size
    learning_rate: float = RECIPE.learning_rate
    weight_decay: float = RECIPE.weight_decay


def retrain(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject, from fresh weights: it never sees ``forget``, and of the original only the architecture."""
    return train(fresh_like(original), retain, settings, seed, loss=loss())
