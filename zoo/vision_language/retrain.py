"""Training anew on retain alone (Bourtoule et al. 2021, arXiv 1912.03817): what deletion is measured against."""

import copy

from torch import nn

from auditor.models.training import train
from auditor.records.spec import RecipeSpec
from auditor.tasks.custom.references import loss_of
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.user_code import built_in
from auditor.tasks.vision_language.code import VisionLanguageCode
from auditor.tasks.vision_language.task import VisionLanguage
from auditor.zoo.vision_language.editing import Network


class Settings(RecipeSpec):
    """The original's recipe."""


def retrain(
    original: Network, forget: CustomExamples, retain: CustomExamples, settings: RecipeSpec, seed: int
) -> nn.Module:
    """The subject: deleted. Of the original the configuration alone is taken."""
    kind, config = type(original), copy.deepcopy(original.config)
    code = built_in(VisionLanguageCode(), VisionLanguage.name)
    return train(lambda: kind(config), retain, settings, seed, loss=loss_of(code))
