"""Retraining without the forget set: exact unlearning by definition (Bourtoule et al. 2021, arXiv 1912.03817, §III)."""

import tempfile
from pathlib import Path

from pydantic import Field
from torch import nn

from auditor.loading.checkpoints import build_module, load_weights
from auditor.models.training import continue_from, train
from auditor.records.spec import RecipeSpec
from auditor.tasks.classification.sets import Examples
from auditor.zoo.fresh import fresh_like


class Settings(RecipeSpec):
    """The original's recipe."""


class StartSettings(Settings):
    """The original's recipe, and where training starts."""

    start: Path = Field(description="checkpoint that training starts from; it must not have seen the forget set")


def retrain(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject, from fresh weights: it never sees ``forget``, and of the original only the architecture."""
    return train(fresh_like(original), retain, settings, seed)


def retrain_from_own_weights(
    original: nn.Module, forget: Examples, retain: Examples, settings: StartSettings, seed: int
) -> nn.Module:
    """The subject, from the original's own initial weights, which ``settings.start`` names."""
    return retrain_from(_started(original, settings.start), retain, settings, seed)


def retrain_from_pretrained(
    original: nn.Module, forget: Examples, retain: Examples, settings: StartSettings, seed: int
) -> nn.Module:
    """The subject, from pretrained weights, which ``settings.start`` names.

    Deleted for the goal ``data``. The pretraining may have taught the concept by other examples.
    """
    return retrain_from(_started(original, settings.start), retain, settings, seed)


def retrain_from(start: nn.Module, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """Train a copy of a given network on retain."""
    return train(continue_from(start), retain, settings, seed)


def _started(original: nn.Module, start: Path) -> nn.Module:
    with tempfile.TemporaryDirectory() as cache:
        weights = load_weights(start, Path(cache))
    # The original gives the architecture only; every weight is the checkpoint's, or loading fails.
    return build_module(continue_from(original), weights, str(start))
