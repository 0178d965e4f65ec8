"""What a model is still good for, by scores whose scale only the user's class knows.

Two questions, each with its own answer in [0, 1]. *Does the original work?* Its score of an example is held against its
score of the same input under the target of another example: a model that knows nothing prefers its own target half of
the time. *How much of what should be kept does a model keep?* The share of kept examples that score at least what the
original's scores reach for nine in ten of them.
"""

import torch
from torch import nn

from auditor.checks.sets import evenly
from auditor.errors import UsageError
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.user_code import UserTask

_EXAMPLES = 512
_BELOW = 0.1
"""Share of the kept examples that the original itself leaves below the bar."""
_CHANCE = 0.5


def bar_of(code: UserTask, original: nn.Module, kept: CustomExamples) -> float:
    """The score that the original reaches for nine in ten kept examples."""
    few = evenly(kept, _EXAMPLES)
    return float(code.scores(original, few.inputs, few.targets).quantile(_BELOW))


def prefers_own_targets(code: UserTask, original: nn.Module, kept: CustomExamples) -> float | None:
    """How often the original scores an example above the same input with the next example's target; ties count half.

    Returns:
        A share in [0, 1]; None where no score depends on the target, so that nothing can be said.
    """
    few = evenly(kept, _EXAMPLES)
    others = few.targets.roll(1, 0)
    # Where two neighbours have one target there is nothing to prefer.
    differ = (few.targets != others).flatten(1).any(1) if few.targets.ndim > 1 else few.targets != others
    own = code.scores(original, few.inputs, few.targets)[differ]
    swapped = code.scores(original, few.inputs, others)[differ]
    if not bool((own != swapped).any()):
        return None
    return float(((own > swapped).double() + 0.5 * (own == swapped)).mean())


def refuse_broken(share: float, gate: float, name: str) -> None:
    """Stop where an original does not prefer the targets of its own examples.

    Args:
        share: as :func:`prefers_own_targets` gives it.
        gate: share of the way from chance to always that a working model goes.
        name: of the user's class.

    Raises:
        UsageError: it is near chance.
    """
    if share < _CHANCE + gate * (1 - _CHANCE):
        raise UsageError(
            f"the original scores retain examples above the same inputs with other targets in {100 * share:.0f} % of "
            f"cases (chance is 50 %): check the checkpoint, the architecture and the scores of {name}"
        )


def share_known(scores: torch.Tensor, bar: float) -> float:
    """Share of scores at the bar or above."""
    return float((scores >= bar).double().mean())
