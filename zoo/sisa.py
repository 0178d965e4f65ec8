"""SISA: sharded training, and retraining of the affected shard alone (Bourtoule et al. 2021, arXiv 1912.03817).

One network per shard. Which shard an example is in follows from its content, except that what is likely to be
forgotten stands in the first shard, as the paper does where the likelihood is known. The networks' features stand side
by side and one linear map reads them, so that it holds the shards' heads as blocks; a class's logit is the mean over
the shards that were given the class.
"""

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.records.spec import RecipeSpec
from auditor.tasks.classification.editing import copy_of, head_of
from auditor.tasks.classification.sets import Examples, joined
from auditor.zoo.fresh import fresh_like
from auditor.zoo.surgery import without_head

_FIRST = 0  # what is likely to be forgotten stands together, so that one shard is retrained and not all


class Settings(RecipeSpec):
    """The recipe of each shard, and how many there are. A shard is small, so an epoch has few steps."""

    epochs: int = Field(default=40, ge=1, description="passes over the shard")
    shards: int = Field(default=3, ge=1)


class Sharded(nn.Module):
    """Networks of shards under one linear map.

    Args:
        networks: one per shard, each ending in a linear map.
        votes: float32 [classes, shards], the weight of each shard in each class's logit.
        examples: a few, to find the last linear maps by.
    """

    votes: Tensor
    biases: Tensor

    def __init__(self, networks: list[nn.Module], votes: Tensor, examples: Examples) -> None:
        super().__init__()
        heads = [head_of(network, examples) for network in networks]
        self.shards = nn.ModuleList(without_head(network, examples) for network in networks)
        # A named place: the auditor opens the network at the input of its last linear map.
        self.joined = nn.Identity()
        self.head = nn.Linear(sum(head.in_features for head in heads), len(votes))
        self.register_buffer("votes", votes)
        # By shard: the sum alone could not be updated when one of them is retrained.
        self.register_buffer("biases", torch.zeros_like(votes))
        for shard, head in enumerate(heads):
            self.put_head(shard, head)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        features = torch.cat([shard(images) for shard in self.shards], dim=1)
        logits: Tensor = self.head(self.joined(features))
        return logits

    def put_head(self, shard: int, head: nn.Linear) -> None:
        """Write one shard's head into its block."""
        width = head.in_features
        with torch.no_grad():
            vote = self.votes[:, shard]
            self.head.weight[:, shard * width : (shard + 1) * width] = vote[:, None] * head.weight
            self.biases[:, shard] = vote * head.bias
            self.head.bias.copy_(self.biases.sum(dim=1))


def train_sharded(
    build: Callable[[], nn.Module], forget: Examples, retain: Examples, settings: Settings, seed: int
) -> Sharded:
    """An original made by the mechanism: what will be forgotten stands in the first shard."""
    parts = shards_of(retain, settings.shards)
    seen = [joined(forget, parts[_FIRST]), *parts[1:]]
    return _trained(build, seen, _votes(seen), settings, seed)


def train_sharded_reference(
    build: Callable[[], nn.Module], forget: Examples, retain: Examples, settings: Settings, seed: int
) -> Sharded:
    """A reference for such an original: every shard trained, none on ``forget``; the votes are the original's."""
    parts = shards_of(retain, settings.shards)
    # The original's votes, or the reference would differ by which shards speak for a class, not by what they learnt.
    votes = _votes([joined(forget, parts[_FIRST]), *parts[1:]])
    return _trained(build, parts, votes, settings, seed)


def sisa(original: nn.Module, forget: Examples, retain: Examples, settings: Settings, seed: int) -> nn.Module:
    """The subject: the first shard retrained on what is retained of it, the others as they were.

    Raises:
        ModelError: the original was not made by :func:`train_sharded` with as many shards.
    """
    if not isinstance(original, Sharded) or len(original.shards) != settings.shards:
        raise ModelError(f"sisa needs an original of {settings.shards} shards, made by train_sharded")
    module = copy_of(original)
    assert isinstance(module, Sharded)
    body = module.shards[_FIRST]
    width = module.head.in_features // settings.shards
    network = nn.Sequential(body, nn.Linear(width, module.head.out_features))
    # The body with a new head, trained as one network, as it was the first time.
    again = train(fresh_like(network), shards_of(retain, settings.shards)[_FIRST], settings, derive_seed(seed, _FIRST))
    assert isinstance(again, nn.Sequential)
    module.shards[_FIRST] = again[0]
    head = again[1]
    assert isinstance(head, nn.Linear)
    module.put_head(_FIRST, head)
    return module.eval()


def shards_of(examples: Examples, shards: int) -> list[Examples]:
    """Examples by shard, decided by each example's content."""
    # By content, not by position: the shards of retain stay the same whatever is taken out of the set.
    number = torch.tensor([int(content[:8], 16) % shards for content in examples.content_hashes])
    return [examples.take(number == shard) for shard in range(shards)]


def _votes(parts: list[Examples]) -> Tensor:
    classes = int(max(int(part.labels.max()) for part in parts)) + 1
    seen = torch.stack([torch.isin(torch.arange(classes), part.labels) for part in parts], dim=1).float()
    return seen / seen.sum(dim=1, keepdim=True).clamp_min(1)


def _trained(
    build: Callable[[], nn.Module], parts: list[Examples], votes: Tensor, settings: Settings, seed: int
) -> Sharded:
    networks = [train(build, part, settings, derive_seed(seed, shard)) for shard, part in enumerate(parts)]
    return Sharded(networks, votes, parts[_FIRST]).eval()
