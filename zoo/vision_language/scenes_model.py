"""The small model of the scenes: transformers' LLaVA with a tiny CLIP vision tower and a tiny Llama."""

from torch import nn

from auditor.records.spec import RecipeSpec
from auditor.zoo.vision_language.scenes import IMAGE_TOKEN, SIDE, vocabulary

_PATCH = 4
_IMAGE_TOKENS = (SIDE // _PATCH) ** 2
_HEADS = 4
_LONGEST = 32  # tokens; every picture with question and answer is shorter

RECIPE = RecipeSpec(epochs=10, batch_size=32, learning_rate=0.003, weight_decay=0.01)
"""By which its models are trained."""


def scenes_model(width: int = 32, blocks: int = 2) -> nn.Module:
    """The untrained network; its initial weights come from torch's global seed.

    Args:
        width: of the language model's residual stream.
        blocks: of it; the vision tower has one.
    """
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    known = vocabulary()
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1,
        num_attention_heads=_HEADS,
        image_size=SIDE,
        patch_size=_PATCH,
        projection_dim=width,
        # The usual 0.02 is for widths of a thousand: a narrow tower would hardly see at first.
        initializer_range=0.1,
        initializer_factor=3.0,
    )
    text = LlamaConfig(
        vocab_size=len(known),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=blocks,
        num_attention_heads=_HEADS,
        num_key_value_heads=_HEADS,
        max_position_embeddings=_LONGEST,
        tie_word_embeddings=False,
        pad_token_id=known["<pad>"],
        bos_token_id=None,
        eos_token_id=None,
        initializer_range=0.1,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=known[IMAGE_TOKEN],
        image_seq_length=_IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )
    return LlavaForConditionalGeneration(config)
