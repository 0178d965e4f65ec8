"""Ascent on the forget loss alone: the part that several methods share, which differ in when they stop."""

from collections.abc import Callable

from torch import Tensor, nn

from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, descend, losses
from auditor.tasks.causal_lm.sets import Facts


def ascend(
    original: LanguageModel,
    forget: Facts,
    *,
    rate: float,
    steps: int,
    size: int,
    seed: int,
    enough: Callable[[nn.Module], bool],
) -> nn.Module:
    """A copy that climbs the cross-entropy of forget answers until it is enough, or the steps are used up."""
    module, encoder = copy_of(original), original.encoder

    def loss(forgotten: Facts, _: Facts) -> Tensor:
        return -losses(module, encoder.batch(forgotten.items)).mean()

    return descend(
        module,
        loss,
        forget,
        # In retain's place as well: the loss never looks at the second batch.
        forget,
        rate=rate,
        steps=steps,
        size=size,
        seed=seed,
        enough=lambda: enough(module),
    )
