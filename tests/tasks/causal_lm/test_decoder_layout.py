"""Where decoders of the families that people have can be cut, and which of their units may be rescaled."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from auditor.models.canonical import HomogeneousPair
from auditor.models.units import UnitPair
from auditor.randomness import torch_seed
from auditor.tasks.causal_lm.structure import DecoderLayout, find_decoder_layout

WIDTH, HEADS, VOCABULARY = 32, 4, 50
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS // 2,
    "intermediate_size": 2 * WIDTH,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
OPT = {"word_embed_proj_dim": WIDTH, "ffn_dim": 2 * WIDTH}
GPT2 = {"n_embd": WIDTH, "n_layer": 2, "n_head": HEADS, "n_positions": 64, "vocab_size": VOCABULARY}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": WIDTH, "mlp_only_layers": [0]}
GATED = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
FUSED: tuple[str, ...] = ()

# By transformers' name of the family: what its configuration takes beside the sizes, where its blocks and its norm are,
# and its gated maps or its two plain ones. Written by hand from each family's modelling code.
FAMILIES: dict[str, tuple[dict[str, object], str, str, tuple[str, ...]]] = {
    "Llama": ({}, "model.layers", "model.norm", GATED),
    "Mistral": ({}, "model.layers", "model.norm", GATED),
    "Qwen2": ({}, "model.layers", "model.norm", GATED),
    "Qwen3": ({"head_dim": 8}, "model.layers", "model.norm", GATED),
    "Gemma2": ({"head_dim": 8, "query_pre_attn_scalar": 8}, "model.layers", "model.norm", GATED),
    "Olmo2": ({}, "model.layers", "model.norm", GATED),
    "Phi": ({}, "model.layers", "model.final_layernorm", ("mlp.fc1", "mlp.fc2")),
    "GPTNeoX": ({}, "gpt_neox.layers", "gpt_neox.final_layer_norm", ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h")),
    "OPT": (OPT, "model.decoder.layers", "model.decoder.final_layer_norm", ("fc1", "fc2")),
    "GPT2": (GPT2, "transformer.h", "transformer.ln_f", ("mlp.c_fc", "mlp.c_proj")),
    # Gate and up lie in one map, whose halves make no units of their own.
    "Phi3": ({}, "model.layers", "model.norm", FUSED),
}


def network(family: str, **more: object) -> nn.Module:
    """A tiny random network of one of transformers' families."""
    import transformers

    sizes = {} if family == "GPT2" else SIZES
    config = getattr(transformers, f"{family}Config")(**{**sizes, **more})
    name = f"{family}LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM"
    with torch_seed(0):
        made: nn.Module = getattr(transformers, name)(config)
    # Attention with the output of a seldom-used kernel aside, trials compare numbers of ordinary size.
    with torch.no_grad():
        for weight in (w for w in made.parameters() if w.ndim > 1):
            weight.mul_(8.0)
    return made.eval()


def tokens(n: int = 3, length: int = 9) -> torch.Tensor:
    return torch.randint(1, VOCABULARY, (n, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_norm_and_head_are_where_the_familys_code_has_them(family: str) -> None:
    more, blocks, norm, _ = FAMILIES[family]
    layout = find_decoder_layout(network(family, **more), tokens())
    assert layout.blocks == (f"{blocks}.0", f"{blocks}.1")
    assert (layout.final_norm, layout.head) == (norm, "lm_head")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_maps_of_each_block_that_make_and_read_units_are_found(family: str) -> None:
    more, _, _, maps = FAMILIES[family]
    layout = find_decoder_layout(network(family, **more), tokens())
    for block in layout.blocks:
        wanted = [UnitPair(f"{block}.{maker}", f"{block}.{maps[-1]}", 1) for maker in maps[:-1]]
        found = [pair for pair in layout.units if pair.maker.startswith(f"{block}.") and "attn" not in pair.maker]
        assert found == wanted


@pytest.mark.parametrize("family", FAMILIES)
def test_units_of_a_gate_or_behind_a_rectifier_may_be_rescaled_and_no_others(family: str) -> None:
    more, _, _, maps = FAMILIES[family]
    layout = find_decoder_layout(network(family, **more), tokens())
    # Phi, GPT-2 and GPT-NeoX have GELU, where scaling a unit's input is no scaling of its output.
    scaled = maps[-2:] if maps == GATED or family == "OPT" else ()
    wanted = [HomogeneousPair(f"{b}.{scaled[0]}", f"{b}.{scaled[1]}", 1) for b in layout.blocks if scaled]
    assert [pair for pair in layout.pairs if "attn" not in pair.producer] == wanted


def test_values_are_read_by_the_output_map_where_each_head_has_its_own() -> None:
    layout = find_decoder_layout(network("Llama", num_key_value_heads=HEADS), tokens())
    shared = find_decoder_layout(network("Llama"), tokens())
    attention = [pair for pair in layout.pairs if "attn" in pair.producer]
    assert attention == [
        HomogeneousPair(f"{block}.self_attn.v_proj", f"{block}.self_attn.o_proj", 1) for block in layout.blocks
    ]
    assert [pair for pair in shared.pairs if "attn" in pair.producer] == []


def test_a_block_with_experts_and_one_without_are_tried_apart() -> None:
    layout = find_decoder_layout(network("Qwen3Moe", **EXPERTS, head_dim=8), tokens())
    assert len(layout.blocks) == 2
    assert [pair.producer for pair in layout.pairs] == ["model.layers.0.mlp.up_proj"]


def test_a_silent_block_hides_the_units_of_no_other() -> None:
    """Whoever made the original may have silenced one: nothing that is tried there says anything of the rest."""
    made = network("Llama")
    with torch.no_grad():
        made.get_submodule("model.layers.0.mlp.down_proj").weight.zero_()
    layout = find_decoder_layout(made, tokens())
    wanted = find_decoder_layout(network("Llama"), tokens())
    in_second = [pair for pair in wanted.units if pair.maker.startswith("model.layers.1.")]
    assert in_second
    assert list(layout.units) == in_second


def test_each_block_is_tried_with_its_own_activation() -> None:
    made = network("OPT", **OPT)
    made.get_submodule("model.decoder.layers.1").activation_fn = nn.GELU()
    layout = find_decoder_layout(made, tokens())
    assert [pair.producer for pair in layout.pairs if "fc" in pair.producer] == ["model.decoder.layers.0.fc1"]


def test_an_outlier_channel_of_the_residual_stream_hides_no_change() -> None:
    """Real models write numbers in the thousands to single channels; attention's part is small beside them."""
    made = network("Llama")
    with torch.no_grad():
        made.get_submodule("model.layers.0.mlp.down_proj").weight[3] *= 1e6
    assert find_decoder_layout(made, tokens()).pairs == find_decoder_layout(network("Llama"), tokens()).pairs


def test_the_network_is_left_as_it_was() -> None:
    made = network("Llama", num_key_value_heads=HEADS)
    before = copy.deepcopy(made.state_dict())
    find_decoder_layout(made, tokens())
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in made.modules())


def test_the_search_costs_as_many_passes_of_the_model_however_many_blocks_there_are() -> None:
    assert block_runs(network("Llama", num_hidden_layers=2)) == block_runs(network("Llama", num_hidden_layers=9)) <= 3


def block_runs(made: nn.Module) -> float:
    """How often the search runs each block of the model itself."""
    ran: list[str] = []
    names = [f"model.layers.{i}" for i in range(len(made.get_submodule("model.layers")))]
    for name in names:
        made.get_submodule(name).register_forward_hook(partial(_noted, ran=ran, name=name))
    layout: DecoderLayout = find_decoder_layout(made, tokens())
    assert len(layout.blocks) == len(names)
    # The trials' copy of a block carries its hook along; only what the model ran counts.
    return min(ran.count(name) for name in names)


def _noted(_: nn.Module, __: object, ___: object, ran: list[str], name: str) -> None:
    ran.append(name)
