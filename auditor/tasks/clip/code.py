"""How a dual encoder is scored, read and trained: captions against each other for an image, images for a caption."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MOST_CAPTIONS = 128
"""Captions that an image's own is held against, at most; each is encoded again in every batch."""
_DEEP = 4
"""Blocks from which on the one halfway is read as well."""
POOLED, EMBEDDING = "pooled", "embedding"
"""Layers of features: the image encoder's last word, and what captions are compared with."""


def captions_of(targets: Sequence[Tensor]) -> Tensor:
    """The captions that images are told apart by: the distinct rows of some targets, in order of their tokens.

    Args:
        targets: token ids of some sets, int64 [n, length] each, of one length.

    Returns:
        Int64 [captions, length]; evenly spread ones where there are more than :data:`MOST_CAPTIONS`.
    """
    distinct: Tensor = torch.cat(list(targets)).unique(dim=0)
    return distinct[:: -(-len(distinct) // MOST_CAPTIONS)]


@dataclass(frozen=True)
class Lineup:
    """The captions that a batch is held against.

    Attributes:
        tokens: int64 [captions, length].
        own: place of each example's own caption among them, int64 [n].
        allowed: which of them an example is held against, bool [n, captions]: the fixed ones and its own.
    """

    tokens: Tensor
    own: Tensor
    allowed: Tensor


def line_up(fixed: Tensor, targets: Tensor) -> Lineup:
    """The fixed captions, and behind them those of a batch that are none of these.

    Args:
        fixed: int64 [captions, length].
        targets: the batch's, int64 [n, length].
    """
    further = targets[~_equal(targets, fixed).any(1)].unique(dim=0)
    tokens = torch.cat([fixed, further])
    same = _equal(targets, tokens)
    # What another example of the batch brings along counts for that one alone: no score depends on its neighbours.
    fixed_ones = torch.arange(len(tokens), device=tokens.device) < len(fixed)
    return Lineup(tokens, same.int().argmax(1), same | fixed_ones)


class DualEncoderCode:
    """What custom audits ask of a class of the user's, for networks of transformers that are called as CLIP is.

    An image's score is the log-probability of its own caption among those of the audit,

        s(image, caption) = log softmax over captions c of logit(image, c), at the caption,

    which is what zero-shot classification goes by. The captions are fixed by the sets (:func:`captions_of`), so that no
    score depends on the batch that it is computed in.

    Args:
        captions: int64 [captions, length].
    """

    def __init__(self, captions: Tensor) -> None:
        self.captions = captions

    def scores(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Log-probability of each image's caption, [n].

        Args:
            model: called with ``input_ids`` and ``pixel_values``, gives ``logits_per_image``.
            inputs: pixel values [n, channels, height, width].
            targets: token ids [n, length].
        """
        _, held = self._held(model, inputs, targets)
        return held

    def correct(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Whether the own caption is the likeliest, bool [n]; arguments as of :meth:`scores`."""
        logits, held = self._held(model, inputs, targets)
        return held >= logits.log_softmax(1).max(1).values

    def features(self, model: Any, inputs: Tensor) -> dict[str, Tensor]:
        """What the image encoder makes of each image: halfway where it is deep, [n, positions, width], and at its end.

        Pooled are features before they are projected to the space of captions: a projection that shuts them out leaves
        them as they were.
        """
        images = model.vision_model
        blocks = list(images.encoder.layers)
        # Of a few blocks the first half sees little more than pixels, which differ as much in models that know nothing.
        halfway = [len(blocks) // 2] if len(blocks) >= _DEEP else []
        with _outputs([blocks[number - 1] for number in halfway]) as caught:
            pooled = images(pixel_values=inputs).pooler_output
        projected = model.get_image_features(pixel_values=inputs).pooler_output
        found = {f"block {number}": rows for number, rows in zip(halfway, caught, strict=True)}
        return {**found, POOLED: pooled, EMBEDDING: projected}

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """The symmetric contrastive loss, with a fixed list of captions in place of the batch's.

        Half of it is the mean of minus the scores. The other half is, for each example's caption, minus the log of the
        share of the softmax over the batch's images that falls to images of that caption. Where a batch has one caption
        alone, as the few examples of an attack may, that half is 0, and the first teaches what the caption is not.
        """
        captions = line_up(self.captions.to(targets.device), targets)
        logits = self.logits(model, inputs, captions.tokens)
        to_text = _own(_masked(logits, captions).log_softmax(1), captions).mean()
        by_caption = logits.T[captions.own]  # [captions of the examples, images]
        right = captions.own[:, None] == captions.own[None]
        of_right = by_caption.masked_fill(~right, -torch.inf).logsumexp(1)
        return (by_caption.logsumexp(1) - of_right).mean() / 2 - to_text / 2

    def logits(self, model: nn.Module, inputs: Tensor, captions: Tensor) -> Tensor:
        """Of each image for each of some captions, float32 [n, captions].

        Args:
            model: as of :meth:`scores`.
            inputs: pixel values [n, channels, height, width].
            captions: token ids [captions, length].
        """
        # The network is called as a whole: what an audit compares of two networks is what comes out of that call.
        found: Any = model(input_ids=captions, pixel_values=inputs)
        # Of unit length is nothing that is 0: a wreck's embeddings are alike to all, and are no NaN.
        silent = _silent(found.vision_model_output.pooler_output)[:, None]
        silent = silent | _silent(found.text_model_output.pooler_output)[None]
        logits: Tensor = found.logits_per_image
        return logits.float().masked_fill(silent, 0.0)

    def _held(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(logits [n, captions] of those allowed, log-probability of the own caption [n])."""
        captions = line_up(self.captions.to(targets.device), targets)
        logits = _masked(self.logits(model, inputs, captions.tokens), captions)
        return logits, _own(logits.log_softmax(1), captions)


@contextmanager
def _outputs(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """What some modules give while this is open. The library, asked for hidden states, leaves its own hooks behind."""
    caught: list[Tensor] = []

    def note(_: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
        caught.append(output if isinstance(output, Tensor) else output[0])

    handles = [module.register_forward_hook(note) for module in modules]
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def _silent(embedded: Tensor) -> Tensor:
    """Which rows an encoder embeds as 0, bool [n]."""
    return (embedded == 0).all(1)


def _masked(logits: Tensor, captions: Lineup) -> Tensor:
    return logits.masked_fill(~captions.allowed, -torch.inf)


def _own(values: Tensor, captions: Lineup) -> Tensor:
    return values.gather(1, captions.own[:, None])[:, 0]


def _equal(rows: Tensor, others: Tensor) -> Tensor:
    """Whether each row is each other one, bool [rows, others]."""
    return (rows[:, None] == others[None]).all(-1)
