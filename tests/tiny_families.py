"""Tiny random language models of several architectures, with facts: what must run on every one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

from auditor.randomness import torch_seed
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.sets import FactsData, split_facts
from auditor.tasks.causal_lm.structure import DecoderLayout, find_decoder_layout
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.zoo.text.people import people_world
from auditor.zoo.text.people_model import word_tokenizer

# At the library's initial scale every token is about as probable as any other, whatever stands before it.
_LIVELY = 8.0
LAYERS, WIDTH, HEADS, LONGEST = 2, 32, 4, 64
_NAMED = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
_LONG = {"max_position_embeddings": LONGEST}
_ROTARY = {**_NAMED, **_LONG, "intermediate_size": 2 * WIDTH, "num_key_value_heads": HEADS // 2}
_EXPERTS = {**_ROTARY, "num_experts_per_tok": 2}


def _llama(common: dict[str, int]) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**_ROTARY, **common))


def _gpt2(common: dict[str, int]) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_positions=LONGEST, **common))


def _gpt_neox(common: dict[str, int]) -> nn.Module:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    return GPTNeoXForCausalLM(GPTNeoXConfig(**_NAMED, **_LONG, intermediate_size=2 * WIDTH, **common))


def _opt(common: dict[str, int]) -> nn.Module:
    from transformers import OPTConfig, OPTForCausalLM

    return OPTForCausalLM(OPTConfig(**_NAMED, **_LONG, ffn_dim=2 * WIDTH, word_embed_proj_dim=WIDTH, **common))


def _qwen2(common: dict[str, int]) -> nn.Module:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(Qwen2Config(**_ROTARY, **common))


def _mixtral(common: dict[str, int]) -> nn.Module:
    from transformers import MixtralConfig, MixtralForCausalLM

    return MixtralForCausalLM(MixtralConfig(**_EXPERTS, num_local_experts=4, **common))


_MAKERS: dict[str, Callable[[dict[str, int]], nn.Module]] = {
    "llama": _llama,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "opt": _opt,
    "qwen2": _qwen2,
    "mixtral": _mixtral,
}
FAMILIES = tuple(_MAKERS)


@dataclass(frozen=True, kw_only=True)
class TinyFamily:
    """One architecture: a function that makes random networks of it, and facts it never learned."""

    name: str
    encoder: Encoder
    data: FactsData
    layout: DecoderLayout

    def module(self, seed: int) -> nn.Module:
        """A random network in eval mode."""
        return random_network(self.name, self.encoder.tokenizer, seed)

    def subject(self, role: str, seed: int, module: nn.Module | None = None, **given: Any) -> CausalLM:
        """A subject of that seed, or around a given network."""
        net = module if module is not None else self.module(seed)
        return CausalLM(
            net,
            role=role,
            digest=f"{self.name} {seed}",
            layout=self.layout,
            encoder=given.pop("encoder", self.encoder),
            data=self.data,
            **given,
        )


def random_network(name: str, tokenizer: Any, seed: int) -> nn.Module:
    """A network of a family with random weights, in eval mode."""
    special = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id}
    with torch_seed(seed):
        made = _MAKERS[name]({"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, **special})
    with torch.no_grad():
        for weight in (w for w in made.parameters() if w.ndim > 1):
            weight.mul_(_LIVELY)
    return made.eval()


@cache
def tiny_family(name: str) -> TinyFamily:
    """Facts about two people to forget, three to keep, two held out and two for control, and the architecture."""
    people = people_world(3, forget=2, retain=3, holdout=4)
    encoder = Encoder(word_tokenizer(people.words), longest=LONGEST)
    attack, evaluation = split_facts(people.forget, seed=0)
    subjects = people.holdout.subjects
    data = FactsData(
        forget_attack=attack,
        forget_eval=evaluation,
        retain=people.retain,
        holdout=people.holdout.of_subjects(subjects[:2]),
        control=people.holdout.of_subjects(subjects[2:]),
        encoding=encoder.digest,
    )
    original = random_network(name, encoder.tokenizer, 1)
    layout = find_decoder_layout(original, encoder.batch(people.retain.items[:4]).ids)
    return TinyFamily(name=name, encoder=encoder, data=data, layout=layout)
