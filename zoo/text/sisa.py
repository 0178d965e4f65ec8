"""SISA: sharded training, and retraining of the affected shard alone (Bourtoule et al. 2021, arXiv 1912.03817).

One language model per shard of subjects; what will be forgotten stands in the first. The shards run side by side as one
network: their residual streams are the parts of one wide stream, and one head holds theirs as blocks, so that a
token's logit is the mean over the shards.
"""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.models.hooks import first_tensor
from auditor.models.training import train
from auditor.randomness import derive_seed
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, head_of
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import answers_of
from auditor.tasks.causal_lm.sets import Facts
from auditor.tasks.causal_lm.structure import find_decoder_layout
from auditor.zoo.text import retrain
from auditor.zoo.text.fresh import fresh_like
from auditor.zoo.text.people import with_paraphrases

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_FIRST = 0  # what is likely to be forgotten stands together, so that one shard is retrained and not all
_LAYOUT_FACTS = 4  # to find the blocks by; their content does not matter


class Settings(retrain.Settings):
    """The recipe of each shard, and how many there are."""

    # Two at least: with one, every retraining is a whole one.
    shards: int = Field(default=2, ge=2)


class SideBySide(nn.Module):
    """One part of each shard, on its own slice of the last dimension."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        # No ModuleList: the longest one of a network is taken for its stack of blocks.
        for shard, part in enumerate(parts):
            self.add_module(f"shard_{shard}", part)

    def forward(self, states: Tensor, *arguments: object, **keywords: object) -> Tensor:
        """The slices' outputs, side by side."""
        parts = list(self.children())
        # Blocks and norms see their own slice alone, so that no shard reads what another knows.
        slices = states.chunk(len(parts), dim=-1)
        made = [first_tensor(part(x, *arguments, **keywords)) for part, x in zip(parts, slices, strict=True)]
        return torch.cat([x for x in made if x is not None], dim=-1)


def train_sharded(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """An original made by the mechanism, of the architecture of ``original``."""
    return _joined(original, _with(forget, shards_of(retain, settings.shards)), settings, seed)


def train_sharded_reference(
    original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int
) -> nn.Module:
    """A reference for such an original: every shard trained, none on ``forget``."""
    return _joined(original, shards_of(retain, settings.shards), settings, seed)


def sisa(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: the first shard retrained on what is retained of it, the others as they were.

    Raises:
        ModelError: the original was not made by :func:`train_sharded` with as many shards.
    """
    module = copy_of(original)
    joints = [part for part in module.modules() if isinstance(part, SideBySide)]
    if not joints or len(list(joints[0].children())) != settings.shards:
        raise ModelError(f"sisa needs an original of {settings.shards} shards, made by train_sharded")
    # The shards of retain do not depend on forget, so that the others need no retraining.
    part = shards_of(retain, settings.shards)[_FIRST]
    build = fresh_like(original.module)
    again = train(build, with_paraphrases(part), settings, derive_seed(seed, _FIRST), loss=answers_of(original.encoder))
    _put(module, again, _FIRST, settings.shards)
    return module.eval()


def shards_of(facts: Facts, shards: int) -> list[Facts]:
    """Facts by shard; those of one subject stay together."""
    subjects = facts.subjects
    # By subject: facts about one person in two shards would leave them known after one is retrained.
    return [facts.of_subjects(subjects[shard::shards]) for shard in range(shards)]


def _with(forget: Facts, shards: list[Facts]) -> list[Facts]:
    return [Facts(forget.items + shards[_FIRST].items), *shards[_FIRST + 1 :]]


def _joined(original: LanguageModel, parts: list[Facts], settings: Settings, seed: int) -> nn.Module:
    build, loss = fresh_like(original.module), answers_of(original.encoder)
    networks = [
        train(build, with_paraphrases(part), settings, derive_seed(seed, shard), loss=loss)
        for shard, part in enumerate(parts)
    ]
    return side_by_side(networks, original.encoder, parts[_FIRST])


def side_by_side(networks: Sequence[nn.Module], encoder: Encoder, facts: Facts) -> nn.Module:
    """One network whose logits are the mean of the networks' own.

    Args:
        networks: of one architecture, with a head of their own each.
        encoder: of all of them.
        facts: a few, to find the blocks by.
    """
    first = networks[0]
    # The networks come from fresh_like, which takes nothing but transformers models.
    module = cast("PreTrainedModel", copy_of(LanguageModel(first, encoder)))
    # One cache of keys would take in those of every shard.
    module.config.use_cache = False
    for name, part in first.named_modules():
        if isinstance(part, nn.Embedding):
            wide = nn.Embedding(part.num_embeddings, part.embedding_dim * len(networks), part.padding_idx)
            module.set_submodule(name, wide)
    for name in _sliced(first, encoder, facts):
        module.set_submodule(name, SideBySide([network.get_submodule(name) for network in networks]))
    head = head_of(first)
    wide_head = nn.Linear(head.in_features * len(networks), head.out_features, bias=False)
    module.set_output_embeddings(wide_head)  # type: ignore[no-untyped-call]  # transformers gives it no types
    for shard, network in enumerate(networks):
        _put(module, network, shard, len(networks))
    # The shards' own networks were put in, not copied: training one must not change the other.
    made: nn.Module = copy.deepcopy(module)
    return made.eval()


def _sliced(network: nn.Module, encoder: Encoder, facts: Facts) -> tuple[str, ...]:
    """Names of the blocks and of the norm after them."""
    layout = find_decoder_layout(network, encoder.batch(facts.items[:_LAYOUT_FACTS]).ids)
    return (*layout.blocks, *([layout.final_norm] if layout.final_norm else []))


def _put(module: nn.Module, network: nn.Module, shard: int, shards: int) -> None:
    """Write one shard's network into its slice."""
    with torch.no_grad():
        for name, part in network.named_modules():
            if isinstance(part, nn.Embedding):
                _slice(module.get_submodule(name), shard, shards).copy_(part.weight)
        # Over the number of shards: the head's sum over slices then is the mean of the shards' logits.
        _slice(head_of(module), shard, shards).copy_(head_of(network).weight / shards)
    for name, part in module.named_modules():
        if isinstance(part, SideBySide):
            part.add_module(f"shard_{shard}", network.get_submodule(name))


def _slice(part: nn.Module, shard: int, shards: int) -> Tensor:
    return part.get_parameter("weight").chunk(shards, dim=1)[shard]
