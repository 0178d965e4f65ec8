"""A small classifier of examples, by which drawn ones are recognised: it sees no diffusion model."""

import torch
from torch import Tensor, nn

from auditor.randomness import derive_seed, torch_seed
from auditor.tasks.custom.sets import CustomExamples, CustomSets, joined

_WIDTH = 64
_STEPS = 300
_BATCH = 64
_NOISE = 0.3
"""Of the noise that it is trained with, in spreads of the examples: what is drawn is never quite clean."""


class Judge:
    """Trained on the attack half and on retain.

    Args:
        data: the audit's sets.
        seed: of initial weights, order and noise.
    """

    def __init__(self, data: CustomSets, seed: int) -> None:
        known = joined(data.forget_attack, data.retain)
        self.labels = known.labels.unique()
        self._mean, self._spread = known.inputs.mean(), known.inputs.std().clamp_min(1e-6)
        with torch_seed(derive_seed(seed, "judge")):
            self._network = _trained(self._scaled(known.inputs), self._places(known))

    def recognises(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The probability that each example is of a label, float64 [n].

        Args:
            inputs: examples, [n, ...].
            labels: int64 [n], each among those known.
        """
        with torch.no_grad():
            shares: Tensor = self._network(self._scaled(inputs)).double().softmax(1)
        return shares.gather(1, torch.searchsorted(self.labels, labels)[:, None])[:, 0]

    def _scaled(self, inputs: Tensor) -> Tensor:
        return ((inputs - self._mean) / self._spread).flatten(1)

    def _places(self, examples: CustomExamples) -> Tensor:
        return torch.searchsorted(self.labels, examples.labels)


def _trained(inputs: Tensor, places: Tensor) -> nn.Module:
    """By class in equal shares, since forget is one among many and only half of it is here."""
    n = int(places.max()) + 1
    network = nn.Sequential(nn.Linear(inputs.shape[1], _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, n))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    weights = 1 / torch.bincount(places, minlength=n)[places].double()
    for _ in range(_STEPS):
        some = torch.multinomial(weights, _BATCH, replacement=True)
        noisy = inputs[some] + _NOISE * torch.randn(_BATCH, inputs.shape[1])
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(noisy), places[some]).backward()
        optimizer.step()
    return network.eval()
