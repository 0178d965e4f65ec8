"""Handwritten digits drawn in several ways, with captions, and the small CLIP that learns them.

scikit-learn's digits [8, 8], each drawn in one of three domains and captioned by its domain and its class ("sketched
three"). A request is about a class, in whatever domain, or about a domain, of whatever class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn

from auditor.records.spec import RecipeSpec
from auditor.tasks.clip.code import DualEncoderCode, captions_of
from auditor.tasks.custom.references import loss_of
from auditor.tasks.custom.sets import CustomExamples, joined
from auditor.tasks.custom.user_code import UserTask, built_in

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

DOMAINS = ("plain", "negative", "sketched")
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RECIPE = RecipeSpec(epochs=20, learning_rate=3e-3, weight_decay=0.01, schedule="one-cycle")
LENGTH = 4
"""Tokens of a caption: its beginning, two words, its end."""
_BEGIN, _END = range(2)
_WORDS = ("<begin>", "<end>", *DOMAINS, *CLASSES)
_SIDE, _PATCH, _PIXEL_MAX = 8, 4, 16.0
_TEST_SHARE = 1 / 3
_Images = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DrawnDigits:
    """Example sets of one request; images float32 [n, 1, 8, 8] from -1 to 1, captions int64 [n, 4].

    Attributes:
        sets: ``forget``, ``retain``, and never trained on ``holdout`` (like forget) and ``retain_test``.
    """

    sets: Mapping[str, CustomExamples]

    @property
    def code(self) -> UserTask:
        """What scores models of this world, as an audit of its sets makes it."""
        known = captions_of([self.sets["forget"].targets, self.sets["retain"].targets])
        return built_in(DualEncoderCode(known), "clip")

    @property
    def everything(self) -> CustomExamples:
        """What an original is trained on."""
        return joined(self.sets["forget"], self.sets["retain"])

    @property
    def loss(self) -> Callable[[nn.Module, CustomExamples, str], Tensor]:
        """As training calls it."""
        return loss_of(self.code)


def drawn_digits(forgotten: str, seed: int) -> DrawnDigits:
    """All digits, each in a random domain, a third of them never trained on.

    Args:
        forgotten: one of :data:`CLASSES` or of :data:`DOMAINS`.
        seed: of domains and of the split.
    """
    images, labels = load_digits(return_X_y=True)
    random = np.random.default_rng(seed)
    domains = random.integers(len(DOMAINS), size=len(labels))
    gone = domains == DOMAINS.index(forgotten) if forgotten in DOMAINS else labels == CLASSES.index(forgotten)
    tested = random.permutation(len(labels)) < len(labels) * _TEST_SHARE
    everything = CustomExamples(
        inputs=_pixels(_drawn(images.reshape(-1, _SIDE, _SIDE) / _PIXEL_MAX, domains)),
        targets=_captions(domains, labels),
    )
    parts = {
        "forget": gone & ~tested,
        "retain": ~gone & ~tested,
        "holdout": gone & tested,
        "retain_test": ~gone & tested,
    }
    return DrawnDigits(sets={name: everything.take(torch.from_numpy(part)) for name, part in parts.items()})


def small_clip(width: int = 32) -> nn.Module:
    """An untrained CLIP of one text block and two image blocks, 29,185 weights; from torch's global seed."""
    from transformers import CLIPConfig, CLIPModel

    shared = {"hidden_size": width, "intermediate_size": 2 * width, "num_attention_heads": 4}
    text = {
        "vocab_size": len(_WORDS),
        "max_position_embeddings": LENGTH,
        "num_hidden_layers": 1,
        "bos_token_id": _BEGIN,
        "eos_token_id": _END,
        "pad_token_id": _END,
    }
    vision = {"image_size": _SIDE, "patch_size": _PATCH, "num_channels": 1, "num_hidden_layers": 2}
    config = CLIPConfig(
        text_config=shared | text,
        vision_config=shared | vision,
        projection_dim=width,
        # Below the library's 2.66: these few images are told apart at less, and wrong captions end less far away.
        logit_scale_init_value=2.0,
    )
    return CLIPModel(config)


def tokenizer() -> "PreTrainedTokenizerFast":
    """Of whole words, with a beginning and an end around them."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(WordLevel({word: i for i, word in enumerate(_WORDS)}, unk_token="<end>"))
    backend.pre_tokenizer = WhitespaceSplit()
    ends = [(word, _WORDS.index(word)) for word in ("<begin>", "<end>")]
    backend.post_processor = TemplateProcessing(single="<begin> $A <end>", special_tokens=ends)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # its constructor has no types
        tokenizer_object=backend, bos_token="<begin>", eos_token="<end>", pad_token="<end>", unk_token="<end>"
    )


def caption(tokens: Tensor) -> str:
    """The words of one row of tokens, [4]."""
    return " ".join(_WORDS[token] for token in tokens.tolist() if token not in (_BEGIN, _END))


def _captions(domains: NDArray[np.int64], labels: NDArray[np.int64]) -> Tensor:
    first = [_WORDS.index(DOMAINS[domain]) for domain in domains]
    second = [_WORDS.index(CLASSES[label]) for label in labels]
    return torch.tensor([[_BEGIN, a, b, _END] for a, b in zip(first, second, strict=True)])


def _pixels(images: _Images) -> Tensor:
    return torch.tensor(2 * images - 1, dtype=torch.float32)[:, None]


def _drawn(images: _Images, domains: NDArray[np.int64]) -> _Images:
    """Each image in its domain, in [0, 1]."""
    ways = np.stack([images, 1 - images, _sketched(images)])
    drawn: _Images = ways[domains, np.arange(len(images))]
    return drawn


def _sketched(images: _Images) -> _Images:
    """Where ink begins and ends, from left to right and from top to bottom."""
    across, down = (np.abs(np.diff(images, axis=axis, prepend=0)) for axis in (2, 1))
    return np.asarray(np.minimum(across + down, 1))
