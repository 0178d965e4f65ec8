"""Training without the forget set: exact unlearning by definition (Bourtoule et al. 2021, arXiv 1912.03817)."""

from pathlib import Path

from pydantic import Field
from torch import nn

from auditor.loading.transformers_directory import load_directory
from auditor.models.training import continue_from, train
from auditor.records.spec import RecipeSpec
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.sets import Facts
from auditor.zoo.text.fresh import fresh_like
from auditor.zoo.text.people import with_paraphrases


class Settings(RecipeSpec):
    """The original's recipe; the defaults are those of the people world."""

    # Stated here, since the recipe's defaults are those of image classifiers.
    epochs: int = Field(default=40, ge=1, description="passes over the facts, each in two wordings where it has them")
    weight_decay: float = Field(default=0.01, ge=0, description="as the optimizer defines it")


class StartSettings(Settings):
    """The original's recipe, and where training starts."""

    start: Path = Field(
        description="transformers directory that training starts from; it must not have seen the forget set"
    )


def retrain(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject, never taught: fresh weights, and of the original only the architecture."""
    # In two wordings, as the original was taught: a retrain that knew less of retain would be no fair comparison.
    return train(
        fresh_like(original.module), with_paraphrases(retain), settings, seed, loss=answers_of(original.encoder)
    )


def retrain_from_own_weights(
    original: LanguageModel, forget: Facts, retain: Facts, settings: StartSettings, seed: int
) -> nn.Module:
    """The subject, never taught, from the original's own initial weights, which ``settings.start`` names."""
    return retrain_from(load_directory(settings.start).module, original.encoder, retain, settings, seed)


def retrain_from_pretrained(
    original: LanguageModel, forget: Facts, retain: Facts, settings: StartSettings, seed: int
) -> nn.Module:
    """The subject, from a base taught on something else, which ``settings.start`` names."""
    return retrain_from(load_directory(settings.start).module, original.encoder, retain, settings, seed)


def retrain_from(start: nn.Module, encoder: Encoder, facts: Facts, settings: Settings, seed: int) -> nn.Module:
    """Train a copy of a given network on facts."""
    return train(continue_from(start), with_paraphrases(facts), settings, seed, loss=answers_of(encoder))
