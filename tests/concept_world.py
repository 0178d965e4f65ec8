"""A world with control concepts: random prototypes, some learnt, some never seen by any model."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from auditor.models import training
from auditor.records.spec import RecipeSpec
from auditor.tasks.classification.sets import Examples

TRAINED, CONTROLS, PER_CLASS, WIDTH = 8, 14, 80, 64
NOISE = 2.2
FORGET = 0
RECIPE = RecipeSpec(epochs=20, batch_size=32, learning_rate=3e-3)
GENTLE = RecipeSpec(epochs=15, batch_size=32, learning_rate=2e-3)


class Net(nn.Module):
    """Three linear maps with ReLU between."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(WIDTH, 128), nn.Linear(128, 32), nn.Linear(32, TRAINED)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, TRAINED]."""
        logits: Tensor = self.head(torch.relu(self.second(torch.relu(self.first(x)))))
        return logits


def examples(labels: Sequence[int], seed: int = 0) -> Examples:
    """PER_CLASS examples of each label: two prototypes each, so that no linear map tells the labels apart."""
    random = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(TRAINED + CONTROLS, 2, WIDTH, generator=random)
    noise = torch.randn(TRAINED + CONTROLS, PER_CLASS, WIDTH, generator=random)
    side = torch.arange(PER_CLASS) % 2
    raw = torch.cat([prototypes[label][side] + NOISE * noise[label] for label in labels])
    return Examples(raw=raw, labels=torch.tensor(labels).repeat_interleave(PER_CLASS))


def everything() -> Examples:
    return examples(range(TRAINED))


def retain() -> Examples:
    return examples([c for c in range(TRAINED) if c != FORGET])


def controls() -> Examples:
    return examples(range(TRAINED, TRAINED + CONTROLS))


def trained(data: Examples, seed: int, recipe: RecipeSpec = RECIPE, start: nn.Module | None = None) -> nn.Module:
    """A network trained from fresh weights, or from the features of ``start`` with a fresh head."""

    def build() -> nn.Module:
        net = Net()
        if start is not None:
            features = {name: value for name, value in start.state_dict().items() if not name.startswith("head")}
            net.load_state_dict(features, strict=False)
        return net

    return training.train(build, data, recipe, seed)


def shut(original: nn.Module) -> nn.Module:
    """The original with the forgotten class's head row zeroed and its bias far down."""
    net = copy.deepcopy(original)
    with torch.no_grad():
        net.head.weight[FORGET] = 0
        net.head.bias[FORGET] = -50
    return net
