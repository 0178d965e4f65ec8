"""Models of an audit are read, measured and let go: none stays in memory that is not being looked at."""

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from auditor.errors import ModelError
from auditor.loading.transformers_directory import load_directory
from auditor.models import canonical_form
from auditor.models.canonical_file import save_weights
from auditor.models.lineup import Lineup, load_lineup
from auditor.records.spec import make_spec
from auditor.run.estimate import estimate
from auditor.run.preparing import prepare
from tests.tiny_families import random_network, tiny_family

NAMES = ("original", "unlearned", "reference-1", "reference-2")
LINEAR = "from torch import nn\n\n\ndef net():\n    return nn.Linear(3, 2)\n"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Four tiny Llamas, saved."""
    tokenizer = tiny_family("llama").encoder.tokenizer
    for seed, name in enumerate(NAMES):
        random_network("llama", tokenizer, seed).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    return tmp_path


def lineup_of(folder: Path) -> Lineup:
    named = {"original": "original", "unlearned": "unlearned", "references": ["reference-*"]}
    return load_lineup(make_spec({}, {"models": named}), {}, folder, folder / "cache")


def held(kind: type) -> int:
    gc.collect()
    return sum(isinstance(thing, kind) for thing in gc.get_objects())


def test_no_network_stays_in_memory(models: Path) -> None:
    from transformers import LlamaForCausalLM

    before = held(LlamaForCausalLM)
    lineup = lineup_of(models)
    assert list(lineup.entries) == ["original", "unlearned", "reference 1", "reference 2"]
    assert held(LlamaForCausalLM) == before
    made = lineup.module("unlearned")
    assert held(LlamaForCausalLM) == before + 1
    assert made.training is False


def test_what_was_let_go_is_made_again_as_it_was(models: Path) -> None:
    lineup = lineup_of(models)
    first = lineup.module("original")
    with torch.no_grad():
        first.lm_head.weight.zero_()
    again = lineup.module("original").state_dict()
    assert bool(again["lm_head.weight"].any()), "a change to one network is no change to its file"
    assert torch.equal(
        again["lm_head.weight"], load_directory(models / "original").module.state_dict()["lm_head.weight"]
    )


def rewritten(path: Path) -> None:
    tokenizer = tiny_family("llama").encoder.tokenizer
    random_network("llama", tokenizer, 99).save_pretrained(path)


def reworded(path: Path) -> None:
    config = path / "config.json"
    config.write_text(config.read_text().replace('"silu"', '"gelu"'))


@pytest.mark.parametrize("change", [rewritten, reworded])
def test_a_model_that_changes_during_the_audit_is_named(models: Path, change: Callable[[Path], None]) -> None:
    lineup = lineup_of(models)
    change(models / "unlearned")
    with pytest.raises(ModelError, match=r"unlearned changed after the audit had read it; run the audit again"):
        lineup.module("unlearned")


def test_a_file_of_weights_that_changes_during_the_audit_is_named(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(LINEAR)
    for name in ("a", "b"):
        save_weights(nn.Linear(3, 2), tmp_path / f"{name}.safetensors")
    named = {"original": "a.safetensors", "unlearned": "b.safetensors", "architecture": "net.py:net"}
    lineup = load_lineup(make_spec({}, {"models": named}), {}, tmp_path, tmp_path / "cache")
    assert set(lineup.entries["unlearned"].weights()) == {"weight", "bias"}
    save_weights(nn.Linear(3, 2), tmp_path / "b.safetensors")
    for again in (lambda: lineup.module("unlearned"), lineup.entries["unlearned"].weights):
        with pytest.raises(ModelError, match=r"b\.safetensors changed after the audit had read it"):
            again()


def test_a_model_keeps_its_own_type_and_one_digest(models: Path) -> None:
    narrow = load_directory(models / "original").module.bfloat16()
    narrow.save_pretrained(models / "narrow")
    narrow.float().save_pretrained(models / "wide")
    loaded = {name: load_directory(models / name, own_type=True) for name in ("narrow", "wide")}
    types = {name: next(found.module.parameters()).dtype for name, found in loaded.items()}
    assert types == {"narrow": torch.bfloat16, "wide": torch.float32}
    assert loaded["narrow"].digest == loaded["wide"].digest
    assert next(load_directory(models / "narrow").module.parameters()).dtype == torch.float32


def test_the_same_numbers_in_another_type_are_another_model_to_the_store(models: Path) -> None:
    """What is dead shows in the type that a network runs in, so no score of the one may be taken for the other's."""
    load_directory(models / "original").module.bfloat16().save_pretrained(models / "narrow")
    load_directory(models / "narrow").module.save_pretrained(models / "wide")
    named = {"original": "narrow", "unlearned": "wide"}
    lineup = load_lineup(make_spec({}, {"models": named}), {}, models, models / "cache")
    assert lineup.planned[0].digest != lineup.planned[1].digest
    assert lineup.entries["original"].rounded == lineup.entries["unlearned"].rounded


def test_weights_that_two_names_share_take_their_memory_once(models: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 50, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    tied = LlamaForCausalLM(LlamaConfig(**sizes, num_hidden_layers=1, tie_word_embeddings=True, pad_token_id=0))
    tied.save_pretrained(models / "tied")
    named = {"original": "tied", "unlearned": "unlearned"}
    size = load_lineup(make_spec({}, {"models": named}), {}, models, models / "cache").entries["original"].size
    assert size.n_bytes == 4 * sum(parameter.numel() for parameter in tied.parameters())
    assert size.numbers == size.distinct + 50 * 8
    assert size.numbers_in(torch.bfloat16) == size.n_bytes // 2


def test_an_estimate_sends_one_batch_through_the_original_and_no_set(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_family("llama").data
    given = {"forget": data.forget.items, "retain": data.retain.items, "holdout": data.holdout.items}
    named = {"original": "original", "unlearned": "unlearned", "references": ["reference-*"]}
    asked: list[int] = []
    monkeypatch.setattr(canonical_form, "dead_channels", lambda *_: asked.append(1) or {})
    made = prepare(make_spec({}, {"models": named, "audit": {"checks": ("outputs",)}}), models, given)
    found = estimate(made)
    assert asked == []
    assert found.seconds > 0
    # Original and subject, and what the training of a decoy takes.
    assert found.memory_bytes > 6 * made.weight_bytes > 0
