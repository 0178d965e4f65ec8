"""Bad teacher: distilled from an incompetent network on forget, from the original on retain (Chundawat et al. 2023).

arXiv 2205.08096, equation 2; the incompetent teacher is a random initialisation. Some name the forgotten class for
nearly everything, and would teach it: of a few, the one that knows the forget set least teaches.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.randomness import derive_seed
from auditor.records.base import Frozen
from auditor.tasks.classification.editing import accuracy, copy_of, descend, epochs, logits
from auditor.tasks.classification.sets import Examples, joined
from auditor.zoo.fresh import reinitialised

_TEACHERS = 5  # a random network names one class for nearly everything; seldom do all five name the forgotten one


class Settings(Frozen):
    """Of the distillation."""

    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam")
    epochs: int = Field(default=20, ge=1, description="over retain and forget together")
    batch_size: int = Field(default=64, ge=1)
    temperature: float = Field(default=1.0, gt=0, description="of both teachers and the student")


def bad_teacher(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject; its truth is not known in advance."""
    module, competent, incompetent = copy_of(original), copy_of(original), _incompetent(original, forget, seed)
    both = joined(retain, forget)
    # In place of labels: which teacher an example has.
    whose = torch.arange(len(both)) >= len(retain)
    taught = Examples(raw=both.raw, labels=whose, preprocessing=both.preprocessing)
    random = torch.Generator().manual_seed(seed)

    def loss(x: Tensor, forgotten: Tensor) -> Tensor:
        with torch.no_grad():
            teacher = torch.where(forgotten[:, None], logits(incompetent, x), logits(competent, x))
        return distillation(logits(module, x), teacher, settings.temperature)

    batches = epochs(taught, settings.batch_size, settings.epochs, random)
    descend(module.parameters(), batches, loss, settings.learning_rate)
    return module.eval()


def _incompetent(original: nn.Module, forget: Examples, seed: int) -> nn.Module:
    # Drawn again, not perturbed: what is left of the original in a teacher would be taught.
    drawn = [reinitialised(original, derive_seed(seed, "teacher", i)) for i in range(_TEACHERS)]
    return min(drawn, key=lambda teacher: accuracy(teacher, forget))


def distillation(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher ‖ student) of the softened probabilities, nats, mean over examples."""
    return nn.functional.kl_div(
        nn.functional.log_softmax(student / temperature, dim=1),
        nn.functional.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
