"""The generator's row for the forgotten label replaced: by itself, or beside a discriminator that is new."""

import copy

import torch
from pydantic import Field
from torch import nn

from auditor.models.copies import movable_copy
from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.gan.parts import Gan
from auditor.zoo.gan import retrain as retraining


class Settings(Frozen):
    """What is put in the row's place."""

    zeros: bool = Field(default=False, description="whether it becomes zeros, not the mean of the labels that are kept")


def label_row(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject: every weight but that row is the original's, to the last bit."""
    module = movable_copy(original).eval()
    table = Gan.of(module).table.weight
    kept = table[retain.labels.unique()].mean(0).detach()
    with torch.no_grad():
        table[forget.labels.unique()] = torch.zeros_like(kept) if settings.zeros else kept
    return module


class NewSettings(retraining.Settings):
    """How the new discriminator is trained, with a generator of its own that is thrown away."""


def new_discriminator(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: NewSettings, seed: int
) -> nn.Module:
    """The subject: the generator of :func:`label_row`, and the discriminator of a pair retrained on retain alone.

    All that is known of the forget set lies in a generator that no longer says it.
    """
    module = label_row(original, forget, retain, Settings(), seed)
    retrained = retraining.retrain(original, forget, retain, settings, seed)
    # Looked for by name in what an audit reads.
    module.discriminator = copy.deepcopy(Gan.of(retrained).discriminator)
    return module
