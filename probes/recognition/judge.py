"""A small classifier of real examples, trained for one audit, that says what drawn images show."""

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.randomness import derive_seed, torch_seed
from auditor.records.base import Frozen
from auditor.tasks.custom.sets import CustomExamples


class Training(Frozen):
    """How the judge is trained."""

    width: int = Field(default=64, ge=1, description="units of its hidden layer")
    steps: int = Field(default=300, ge=1, description="of Adam")
    learning_rate: float = Field(default=3e-3, gt=0)
    batch_size: int = Field(default=64, ge=2, description="real examples per step, and as many blends")


@dataclass(frozen=True)
class Judge:
    """The classifier.

    Attributes:
        network: from images to logits of the classes and, last, of none of them.
        classes: the labels it knows, int64, ascending.
    """

    network: nn.Sequential
    classes: Tensor

    @classmethod
    def taught(cls, examples: CustomExamples, training: Training, seed: int) -> "Judge":
        """A judge of the classes of some labelled examples.

        Beside them it is shown blends of two examples of different classes and told that they are none of them: what
        a network draws for a label that it never saw is mostly such a blend, and would else have to be of a class.

        Args:
            examples: with labels as targets.
            training: how.
            seed: of initial weights, order and blends.
        """
        classes, places = examples.labels.unique(return_inverse=True)
        with torch_seed(derive_seed(seed, "judge")):
            network = _network(examples.inputs[0].numel(), training.width, len(classes) + 1)
            optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
            for _ in range(training.steps):
                picks = torch.randint(len(examples), (training.batch_size,))
                images, own = examples.inputs[picks], places[picks]
                blends = _blends(images, own)
                shown = torch.cat([images, blends])
                none = torch.full((len(blends),), len(classes))
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(shown), torch.cat([own, none])).backward()
                optimizer.step()
        return cls(network.eval().requires_grad_(False), classes)

    def log_probabilities(self, images: Tensor) -> Tensor:
        """Of the classes, in the order of :attr:`classes`, and of none of them; [n, classes + 1], with gradients."""
        found: Tensor = self.network(images).log_softmax(1)
        return found

    def of_classes(self, images: Tensor, labels: Tensor) -> Tensor:
        """How probable it is that each image shows one of some classes, [n] in [0, 1].

        Args:
            images: [n, ...].
            labels: of the classes that are meant.
        """
        columns = torch.nonzero(torch.isin(self.classes, labels))[:, 0]
        return self.log_probabilities(images)[:, columns].exp().sum(1)

    def hidden(self, images: Tensor) -> Tensor:
        """What it holds of each image before the logits, [n, width], with gradients."""
        found: Tensor = self.network[:-1](images)
        return found


def _network(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))


def _blends(images: Tensor, labels: Tensor) -> Tensor:
    """Each image mixed with that of its neighbour, where that is of another class."""
    others, differ = images.roll(1, 0), labels != labels.roll(1, 0)
    shares = 0.3 + 0.4 * torch.rand(len(images), *[1] * (images.ndim - 1))
    blends: Tensor = (shares * images + (1 - shares) * others)[differ]
    return blends
