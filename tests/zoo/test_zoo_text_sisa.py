"""SISA for language models: one network of shards, of which the affected one alone is retrained."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.randomness import torch_seed
from auditor.tasks.causal_lm.editing import LanguageModel
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.losses import logits_of_tokens
from auditor.tasks.causal_lm.sets import Facts
from auditor.tasks.causal_lm.structure import find_decoder_layout
from auditor.zoo.text import sisa
from auditor.zoo.text.people import people_world
from auditor.zoo.text.people_model import people_model, word_tokenizer

PEOPLE = people_world(3, forget=2, retain=4, holdout=2)
ENCODER = Encoder(word_tokenizer(PEOPLE.words))
SHORT = sisa.Settings(epochs=1)


def networks(family: Any, count: int) -> list[nn.Module]:
    build = people_model(len(ENCODER.tokenizer), layers=2, width=16, family=family)
    made = []
    for seed in range(count):
        with torch_seed(seed):
            made.append(build().eval())
    return made


def logits(module: nn.Module) -> Tensor:
    with torch.no_grad():
        return logits_of_tokens(module, ENCODER.batch(PEOPLE.retain.items))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("shards", [2, 3])
def test_side_by_side_is_the_mean_and_opens(family: Any, shards: int) -> None:
    parts = networks(family, shards)
    joined = sisa.side_by_side(parts, ENCODER, PEOPLE.retain)
    layout = find_decoder_layout(joined, ENCODER.batch(PEOPLE.retain.items[:4]).ids)

    torch.testing.assert_close(logits(joined), torch.stack([logits(part) for part in parts]).mean(0))
    assert len(layout.blocks) == 2
    assert layout.final_norm is not None
    assert layout.head == "lm_head"


@pytest.fixture(scope="module")
def original() -> LanguageModel:
    given = LanguageModel(networks("llama", 1)[0], ENCODER)
    return LanguageModel(sisa.train_sharded(given, PEOPLE.forget, PEOPLE.retain, SHORT, 1), ENCODER)


def test_only_the_affected_shard_moves(original: LanguageModel) -> None:
    made = sisa.sisa(original, PEOPLE.forget, PEOPLE.retain, SHORT, 2)
    blocks = [(m, o) for (n, m), o in _pairs(made, original.module) if "shard_1" in n]
    affected = [(m, o) for (n, m), o in _pairs(made, original.module) if "shard_0" in n and m.ndim == 2]
    head, before = made.get_parameter("lm_head.weight"), original.module.get_parameter("lm_head.weight")

    assert all(torch.equal(mine, theirs) for mine, theirs in blocks)
    assert all(not torch.equal(mine, theirs) for mine, theirs in affected)
    assert torch.equal(head.chunk(2, 1)[1], before.chunk(2, 1)[1])
    assert not torch.equal(head.chunk(2, 1)[0], before.chunk(2, 1)[0])


def test_the_retrained_shard_owes_nothing_to_forget(original: LanguageModel) -> None:
    """What is left of the original's first shard decides nothing, whoever was in it."""
    other = sisa.train_sharded(original_of(networks("llama", 1)[0]), PEOPLE.holdout, PEOPLE.retain, SHORT, 1)
    first = sisa.sisa(original, PEOPLE.forget, PEOPLE.retain, SHORT, 2)
    second = sisa.sisa(original_of(other), PEOPLE.holdout, PEOPLE.retain, SHORT, 2)

    assert not torch.equal(logits(original.module), logits(other))
    assert torch.equal(logits(first), logits(second))


def test_a_reference_never_sees_forget() -> None:
    given = original_of(networks("llama", 1)[0])
    first = sisa.train_sharded_reference(given, PEOPLE.forget, PEOPLE.retain, SHORT, 3)
    second = sisa.train_sharded_reference(given, Facts(()), PEOPLE.retain, SHORT, 3)

    assert torch.equal(logits(first), logits(second))


def test_an_original_of_one_network_is_refused() -> None:
    with pytest.raises(ModelError, match="2 shards, made by train_sharded"):
        sisa.sisa(original_of(networks("llama", 1)[0]), PEOPLE.forget, PEOPLE.retain, SHORT, 1)


def test_subjects_stay_together() -> None:
    parts = sisa.shards_of(PEOPLE.retain, 3)

    assert sum(len(part) for part in parts) == len(PEOPLE.retain)
    assert len({subject for part in parts for subject in part.subjects}) == sum(len(part.subjects) for part in parts)


def original_of(module: nn.Module) -> LanguageModel:
    return LanguageModel(module, ENCODER)


def _pairs(first: nn.Module, second: nn.Module) -> Any:
    return zip(first.named_parameters(), second.parameters(), strict=True)
