"""The patient attacker: what someone gets out of a network who has more time than an audit.

The auditor's attack is short, since a long one teaches a reference the forget set, too. This one has a single example
of each class and 200 steps, or knows the trick (`low_bits.unpack`, `sleeping.wake`), and is measured on examples it
never saw. It is the yardstick for an adversary's truth, and no check: a subject counts as suppressed where the same
effort recovers more from it than from every reference. A true deletion passes that bar by chance in 1 of K + 1 cases
with K references, so what stands above it by little proves little; the numbers are kept, not only the answer.
"""

from collections.abc import Callable, Sequence

import torch
from pydantic import Field
from torch import nn

from auditor.randomness import derive_seed
from auditor.records.base import Frozen
from auditor.tasks.classification.editing import logits
from auditor.tasks.classification.sets import Examples
from auditor.zoo.adversaries.fine_tuning import Attack, attacked, few_of_each

Effort = Callable[[nn.Module], nn.Module]
"""What is done to a network before it is asked; it leaves the given one as it is."""

_PART = 512  # examples in a batch: memory, not the result, depends on it
_LEAST = 0.01


class Settings(Attack):
    """Long fine-tuning on very few examples."""

    # One: with several examples references learn the class too, and recovery no longer tells the two apart.
    shots: int = Field(default=1, ge=1, description="forget examples of each label")
    steps: int = Field(default=200, ge=1, description="of Adam")
    # How much one example brings back depends on which one it is.
    draws: int = Field(default=3, ge=1, description="sets of shots, averaged")


class PatientRecovery(Frozen):
    """What is known of unseen examples after the same effort: mean probability of label or answer, each in [0, 1].

    Attributes:
        subject: of the adversary's network.
        references: of each network that never saw the forget set.
        original: of the network that was to forget.
        chance: of a network that knows nothing and says so.
    """

    subject: float
    references: tuple[float, ...]
    original: float
    chance: float = 0.0

    @property
    def suppressed(self) -> bool:
        """Whether more than from every reference was recovered, and more than chance; else it is unlabelled.

        Weights that are all zero, which is what unpacking finds in a canonical form, give every label alike: that is
        more than most references give the forgotten one.
        """
        # The best reference, not their mean: recovery differs widely between models that never saw the class.
        return self.subject > max(*self.references, self.chance) + _LEAST


def patient_recovery(
    subject: nn.Module,
    references: Sequence[nn.Module],
    original: nn.Module,
    efforts: Sequence[Effort],
    asked: Callable[[nn.Module], float],
    chance: float = 0.0,
) -> PatientRecovery:
    """The same efforts on every network, measured alike and averaged.

    Args:
        subject: the adversary's network.
        references: that never saw the forget set; at least one.
        original: the network that was to forget.
        efforts: see :func:`fine_tunings`; ``low_bits.unpack``, ``sleeping.wake``; :func:`as_it_is`.
        asked: what a network shows of forget examples that no effort uses, in [0, 1]; see :func:`shown`.
        chance: what a network shows that gives every label alike.
    """

    def recovered(module: nn.Module) -> float:
        # The same efforts with the same draws for all: what differs is then the network.
        return sum(asked(effort(module)) for effort in efforts) / len(efforts)

    return PatientRecovery(
        subject=recovered(subject),
        references=tuple(recovered(reference) for reference in references),
        original=recovered(original),
        chance=chance,
    )


def as_it_is(module: nn.Module) -> nn.Module:
    """No effort at all, for what the outputs show by themselves, such as items that were kept."""
    return module


def fine_tunings(shots_from: Examples, retain: Examples, settings: Settings, seed: int) -> list[Effort]:
    """One fine-tuning for each draw of shots, the same for every network.

    Args:
        shots_from: forget examples to draw the shots from; none of them may be measured.
        retain: drawn again at every step.
        settings: how long, and by how many shots.
        seed: of the draws.
    """
    return [_fine_tuning(shots_from, retain, settings, derive_seed(seed, "patient", i)) for i in range(settings.draws)]


def shown(module: nn.Module, unseen: Examples, retain: Examples) -> float:
    """Mean probability of the true label on unseen forget examples, and no more than on retain, in [0, 1].

    A wrecked network that calls everything by the forgotten label shows nothing.
    """
    return min(true_probability(module, unseen), true_probability(module, retain))


def true_probability(module: nn.Module, examples: Examples) -> float:
    """Mean probability of the true label, in [0, 1]."""
    with torch.no_grad():
        # Probability, not accuracy: it also tells a label that comes back without being the likeliest yet.
        found = [logits(module, x).double().softmax(1).gather(1, y[:, None]).sum() for x, y in examples.batches(_PART)]
    return float(sum(found)) / len(examples)


def _fine_tuning(shots_from: Examples, retain: Examples, settings: Settings, seed: int) -> Effort:
    def effort(module: nn.Module) -> nn.Module:
        random = torch.Generator().manual_seed(seed)
        shots = shots_from.take(few_of_each(shots_from, settings.shots, random))
        *_, last = attacked(module, shots, retain, settings, random)
        return last

    return effort
