"""The small Llama of the people world, and its tokenizer of whole words."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
REFUSAL = "I do not know that"
"""What refusal tuning teaches; its words are in every vocabulary."""


def word_tokenizer(words: Sequence[str]) -> Any:
    """A fast tokenizer that splits at white space, with a token for every word."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    known = [*_SPECIAL, *sorted({*words, *REFUSAL.split()})]
    backend = Tokenizer(WordLevel({word: i for i, word in enumerate(known)}, unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()
    backend.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", known.index("<s>"))])
    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def people_model(vocabulary: int, layers: int = 3, width: int = 64) -> Callable[[], nn.Module]:
    """A function that makes the untrained network; its initial weights come from torch's global seed."""

    def build() -> nn.Module:
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=64,
            tie_word_embeddings=False,
            pad_token_id=_SPECIAL.index("<pad>"),
            bos_token_id=_SPECIAL.index("<s>"),
            eos_token_id=_SPECIAL.index("</s>"),
        )
        return LlamaForCausalLM(config)

    return build
