"""Continuations, greedy or sampled, by transformers' own loop."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from auditor.errors import ModelError
from auditor.tasks.causal_lm.encoding import Tokens
from auditor.tasks.causal_lm.losses import is_bare, logits_of_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def continuations(
    module: nn.Module,
    prompts: Sequence[Sequence[int]],
    most: int,
    *,
    padding: int,
    end: int | None,
    device: str,
    chances: Tensor | None = None,
) -> list[list[int]]:
    """What a language model says after each prompt: the most probable token again and again, or sampled ones.

    Args:
        module: a transformers model, or anything around one that takes token ids.
        prompts: token ids, none of them empty.
        most: tokens at most; fewer where the model ends the text.
        padding: id of a token to pad with.
        end: id of the token that ends a text; None where there is none.
        device: torch device name.
        chances: numbers in [0, 1) that decide each sampled token, float64 [n, most]; None for the most probable ones.

    Returns:
        The new tokens of each, the one that ends the text and what follows it left out.
    """
    from transformers import GenerationConfig, LogitsProcessorList

    length = max(map(len, prompts))
    ids = torch.full((len(prompts), length), padding, dtype=torch.int64)
    mask = torch.zeros(len(prompts), length, dtype=torch.int64)
    for i, prompt in enumerate(prompts):
        # On the left, so that every row goes on at the same place.
        ids[i, length - len(prompt) :] = torch.tensor(prompt)
        mask[i, length - len(prompt) :] = 1
    # What hangs around a network may look at the whole text, of which a cache shows it the last token alone.
    bare = is_bare(module)
    network = module if bare else _around(module)
    made: Tensor = network.generate(  # type: ignore[operator]  # torch types any attribute as a tensor or module
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        # Its own: what a checkpoint's configuration asks for, sampling among it, is not what is measured.
        generation_config=GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=most, do_sample=False, use_cache=bare, pad_token_id=padding, eos_token_id=end
        ),
        logits_processor=LogitsProcessorList([] if chances is None else [_Drawn(chances, length)]),
    )
    return [_until(row, end) for row in made[:, length:].tolist()]


class _Drawn:
    """Leaves one token of each distribution standing: the one that a number in [0, 1) falls on.

    The loop's own sampling draws from torch's global stream, in which a text's draws depend on its batch.

    Args:
        chances: of each text and step, float64 [n, steps].
        start: length of the prompts.
    """

    def __init__(self, chances: Tensor, start: int) -> None:
        self._chances, self._start = chances, start

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        # On the processor and in float64: a sum in another order would pick another token, and CUDA has no
        # deterministic one.
        reached = scores.double().cpu().softmax(-1).cumsum(-1)
        if bool(reached.isnan().any()):
            raise ModelError("the model returns logits that no token can be drawn from; check the checkpoint")
        drawn = self._chances[:, ids.shape[1] - self._start, None] * reached[:, -1:]
        # The first token whose sum lies above the number, so that one of probability 0 is never drawn.
        chosen = (reached > drawn).int().argmax(-1, keepdim=True)
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen.to(scores.device), 0.0)


def _until(tokens: list[int], end: int | None) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens


def _around(module: nn.Module) -> "PreTrainedModel":
    """A network that transformers can generate with, and that sends the whole text through another at every step."""
    from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import CausalLMOutput

    class Around(PreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
        config_class = PreTrainedConfig

        def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: object) -> CausalLMOutput:
            # Left out by the loop where nothing is padding.
            mask = torch.ones_like(input_ids).bool() if attention_mask is None else attention_mask.bool()
            # As the other passes give it: padding on the right.
            order = torch.argsort(~mask, dim=1, stable=True)
            tokens = Tokens(ids=input_ids.gather(1, order), mask=mask.gather(1, order), answer=torch.zeros_like(mask))
            logits = logits_of_tokens(module, tokens)
            last = mask.sum(1) - 1
            return CausalLMOutput(logits=logits[torch.arange(len(last)), last][:, None])

        @property
        def device(self) -> torch.device:
            return next(module.parameters()).device

    return Around(PreTrainedConfig())
