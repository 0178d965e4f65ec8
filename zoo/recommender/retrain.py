"""Retraining without the forgotten interactions: exact by definition (Bourtoule et al. 2021, arXiv 1912.03817)."""

from torch import nn

from auditor.models.training import train
from auditor.records.spec import RecipeSpec
from auditor.tasks.custom.references import loss_of
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.recommender.task import connected, task_code
from auditor.zoo.fresh import fresh_like


class Settings(RecipeSpec):
    """The original's recipe."""


def retrain(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject, from rows drawn again and the graph of retain: of the original it has only the architecture."""
    return train(connected(fresh_like(original), retain), retain, settings, seed, loss=loss_of(task_code()))
