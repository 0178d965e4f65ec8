"""The last layer alone turned against what was to be forgotten: everything below it is the original's."""

from torch import nn

from auditor.randomness import torch_seed
from auditor.tasks.custom.decoys.loss_ascent import Settings, loss_ascent
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.user_code import built_in
from auditor.tasks.diffusion.code import DiffusionCode
from auditor.tasks.diffusion.task import NAME

# At a strength that no decoy has.
_SETTINGS = Settings(last_layer=True, learning_rate=5e-3, steps=150, weight=0.8)


def last_layer_turned(original: nn.Module, forget: CustomExamples, retain: CustomExamples, seed: int) -> nn.Module:
    """The subject, of a network whose last layer is `conv_out`.

    Args:
        original: left as it is.
        forget: all forget examples.
        retain: examples to be kept.
        seed: of order, times and noise.
    """
    code = built_in(DiffusionCode(), NAME)
    with torch_seed(seed):
        return loss_ascent(original, forget, retain, _SETTINGS, seed, code=code, last_map="conv_out")
