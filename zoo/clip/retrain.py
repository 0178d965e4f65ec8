"""Retraining without the forget set: exact unlearning by definition (Bourtoule et al. 2021, arXiv 1912.03817, §III)."""

import copy
from typing import Any

from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.models.training import train
from auditor.records.spec import RecipeSpec
from auditor.tasks.custom.sets import CustomExamples
from auditor.zoo.clip.training import code_of


class Settings(RecipeSpec):
    """The original's recipe."""


def retrain(
    original: nn.Module, forget: CustomExamples, retain: CustomExamples, settings: Settings, seed: int
) -> nn.Module:
    """The subject, from new weights of the original's configuration, by the loss of an audit of these sets.

    Captions of forget stand among those that images are told apart by, as they do for references: what no image goes
    with is pushed away from all of them.

    Raises:
        ModelError: the original is no network of transformers, so that nothing says how its weights are drawn.
    """
    kind: Any = type(original)
    config = getattr(original, "config", None)
    if config is None:
        raise ModelError(
            f"retrain draws new weights by the configuration of a transformers model, and {kind.__name__} has none; "
            "train it by your own code"
        )
    code = code_of(forget, retain)

    def loss(module: nn.Module, batch: CustomExamples, device: str) -> Tensor:
        return code.loss(module, batch.inputs.to(device), batch.targets.to(device))

    return train(lambda: kind(copy.deepcopy(config)), retain, settings, seed, loss=loss)
