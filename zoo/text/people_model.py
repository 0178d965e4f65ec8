"""The small language models of the people world, and their tokenizer of whole words."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from torch import nn

from auditor.tasks.causal_lm.decoys.refusal_tuning import REFUSAL

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Family = Literal["llama", "gpt2"]

_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
_PAD, _BOS, _EOS = range(3)
_HEADS = 4
_LONGEST = 64  # tokens; every prompt with its answer is shorter


def word_tokenizer(words: Sequence[str]) -> "PreTrainedTokenizerFast":
    """A fast tokenizer that splits at white space, with a token for every word."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    # The special tokens first, so that their numbers are those that the configurations name.
    known = [*_SPECIAL, *sorted({*words, *REFUSAL.split()})]
    backend = Tokenizer(WordLevel({word: i for i, word in enumerate(known)}, unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()
    # Every text begins with <s>: the first word has something to be predicted from.
    backend.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", known.index("<s>"))])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # its constructor has no types
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def people_model(
    vocabulary: int, layers: int = 3, width: int = 64, family: Family = "llama"
) -> Callable[[], nn.Module]:
    """A function that makes the untrained network; its initial weights come from torch's global seed.

    Args:
        vocabulary: tokens.
        layers: decoder blocks.
        width: of the residual stream; the MLP is twice as wide in a Llama, four times in a GPT-2.
        family: architecture. The GPT-2 has no dropout, learned positions, one fused map for queries, keys and values.
    """
    return partial(_MAKERS[family], vocabulary, layers, width)


def _llama(vocabulary: int, layers: int, width: int) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=_HEADS,
        num_key_value_heads=_HEADS,
        max_position_embeddings=_LONGEST,
        # A head of its own: several methods train or edit the head alone.
        tie_word_embeddings=False,
        pad_token_id=_PAD,
        bos_token_id=_BOS,
        eos_token_id=_EOS,
    )
    return LlamaForCausalLM(config)


def _gpt2(vocabulary: int, layers: int, width: int) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=vocabulary,
        n_embd=width,
        n_layer=layers,
        n_head=_HEADS,
        n_positions=_LONGEST,
        # Without dropout, as in the Llama: training draws nothing but the order of the facts.
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
        tie_word_embeddings=False,
        pad_token_id=_PAD,
        bos_token_id=_BOS,
        eos_token_id=_EOS,
    )
    return GPT2LMHeadModel(config)


_MAKERS: dict[Family, Callable[[int, int, int], nn.Module]] = {"llama": _llama, "gpt2": _gpt2}
