"""What a model is still good for, by scores whose scale only the user's class knows.

Two questions, each with its own answer in [0, 1]. *Does the original work?* Its score of an example is held against its
score of the same input under the target of another example: a model that knows nothing prefers its own target half of
the time. *How much of what should be kept does a model keep?* The share of kept examples that it is right about, where
the user's class has ``correct``; else the share that scores at least what the original's scores reach for nine in ten.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from auditor.checks.sets import evenly
from auditor.errors import ModelError, UsageError
from auditor.tasks.custom.sets import CustomExamples
from auditor.tasks.custom.user_code import UserTask

_EXAMPLES = 512
_BELOW = 0.1
"""Share of the kept examples that the original itself leaves below the bar."""
_CHANCE = 0.5


@dataclass(frozen=True)
class Judge:
    """Which examples a model is right about.

    Attributes:
        code: the user's class.
        bar: score from which on an example counts, where the class does not say it.
    """

    code: UserTask
    bar: float

    @classmethod
    def by(cls, code: UserTask, original: nn.Module, kept: CustomExamples) -> "Judge":
        """By the user's class, or by what the original reaches for nine in ten of at most 512 kept examples."""
        few = evenly(kept, _EXAMPLES)
        return cls(code, float(code.scores(original, few.inputs, few.targets).quantile(_BELOW)))

    def right(self, module: nn.Module, inputs: Tensor, targets: Tensor, scores: Tensor) -> Tensor:
        """Whether, or how much, a model is right about each example, float64 [n] in [0, 1].

        Args:
            module: the model.
            inputs: of some examples.
            targets: theirs.
            scores: the model's, float64 [n].
        """
        return self.code.correct(module, inputs, targets) if self.code.judges else (scores >= self.bar).double()

    @property
    def words(self) -> str:
        """What is said of retain accuracy in the plan."""
        if self.code.judges:
            return f"retain accuracy is what correct of {self.code.name} says"
        return (
            "retain accuracy is the share of kept examples that score at least what nine in ten of the original's do: "
            f"{self.code.name} has no method correct"
        )


def prefers_own_targets(code: UserTask, original: nn.Module, kept: CustomExamples) -> float | None:
    """How often the original scores an example above the same input with the next example's target; ties count half.

    Returns:
        A share in [0, 1]; None where no score depends on the target, so that nothing can be said.

    Raises:
        ModelError: a score is no finite number.
    """
    few = evenly(kept, _EXAMPLES)
    others = few.targets.roll(1, 0)
    # Where two neighbours have one target there is nothing to prefer.
    differ = (few.targets != others).reshape(len(few), -1).any(1)
    own = code.scores(original, few.inputs, few.targets)[differ]
    swapped = code.scores(original, few.inputs, others)[differ]
    if not bool(own.isfinite().all()):
        raise ModelError(f"the original has NaN or infinite scores by {code.name}; check the checkpoint and the method")
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
