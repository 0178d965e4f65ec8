"""The digits for class-conditional GANs: images in [0, 1], the label as condition, one digit to be forgotten."""

from collections.abc import Mapping

from torch import nn

from auditor.models.training import Loss, train
from auditor.records.spec import RecipeSpec
from auditor.tasks.classification.sets import Examples
from auditor.tasks.custom.references import loss_of
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.user_code import built_in
from auditor.tasks.gan.code import GanCode
from auditor.tasks.gan.task import NAME
from auditor.zoo.digits import digits_world
from auditor.zoo.gan.network import LABELS, build

RECIPE = RecipeSpec(epochs=40, batch_size=32, learning_rate=0.003, weight_decay=0.01)
SETS = ("train", "forget", "retain", "holdout", "retain_test")


def gan_digits(forget_class: int, seed: int) -> Mapping[str, CustomExamples]:
    """Sets by name: train (everything), forget, retain, holdout and retain_test, split as of the images.

    Digits 0 to 5 alone: a pair that knows six labels is trained in seconds.

    Args:
        forget_class: the digit to be forgotten.
        seed: of the split.
    """
    world = digits_world(forget_class, seed)
    return {name: _examples(getattr(world, name)) for name in SETS}


def trained(examples: CustomExamples, seed: int, recipe: RecipeSpec = RECIPE) -> nn.Module:
    """A pair trained on some examples from fresh weights.

    Args:
        examples: all of its training set.
        seed: of initial weights, order and latents.
        recipe: how.
    """
    return train(build, examples, recipe, seed, loss=loss())


def loss() -> Loss:
    """What these models are trained by, as the audit knows it."""
    return loss_of(built_in(GanCode(), NAME))


def _examples(images: Examples) -> CustomExamples:
    kept = images.take(images.labels < LABELS)
    return CustomExamples(inputs=kept.raw, targets=kept.labels)
