"""The digits for conditional diffusion models: images in [-1, 1], the label as condition, one digit to be forgotten."""

from collections.abc import Mapping

import torch
from torch import nn

from auditor.models.training import Loss, train
from auditor.records.spec import RecipeSpec
from auditor.tasks.classification.sets import Examples
from auditor.tasks.custom.references import loss_of
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.user_code import built_in
from auditor.tasks.diffusion.code import DiffusionCode
from auditor.tasks.diffusion.task import NAME
from auditor.zoo.diffusion.network import build
from auditor.zoo.digits import digits_world

RECIPE = RecipeSpec(epochs=30, batch_size=32, learning_rate=4e-3, weight_decay=0.0)
N_LABELS = 5
"""Digits 0 to 4 alone: a network of five labels is trained in seconds."""
_MOST = {"train": 80, "test": 40}
"""Examples of each digit, at most: every one of them is denoised some dozen times."""


def diffusion_digits(forget_class: int, seed: int) -> Mapping[str, CustomExamples]:
    """Sets by name: train (everything), forget, retain, retain_test and holdout, split as of the images.

    Args:
        forget_class: the digit to be forgotten.
        seed: of the split.
    """
    world = digits_world(forget_class, seed)
    everything, tested = _examples(world.train, _MOST["train"]), _examples(world.test, _MOST["test"])
    return {
        "train": everything,
        "forget": everything.take(everything.targets == forget_class),
        "retain": everything.take(everything.targets != forget_class),
        "holdout": tested.take(tested.targets == forget_class),
        "retain_test": tested.take(tested.targets != forget_class),
    }


def trained(examples: CustomExamples, seed: int, recipe: RecipeSpec = RECIPE) -> nn.Module:
    """A network trained on some examples from fresh weights.

    Args:
        examples: all of its training set.
        seed: of initial weights, order and noise.
        recipe: how.
    """
    return train(build, examples, recipe, seed, loss=loss())


def loss() -> Loss:
    """What these models are trained by, as the audit knows it."""
    return loss_of(built_in(DiffusionCode(), NAME))


def _examples(images: Examples, most: int) -> CustomExamples:
    kept = torch.cat([torch.nonzero(images.labels == label)[:most, 0] for label in range(N_LABELS)]).sort().values
    some = images.take(kept)
    return CustomExamples(inputs=2 * some.raw - 1, targets=some.labels)
