"""From a fact to tokens: which positions of the text are the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jinja2 import TemplateError
from torch import Tensor

from auditor.digests import text_digest
from auditor.errors import DataError
from auditor.loading.tensors import plain
from auditor.tasks.causal_lm.sets import Fact

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_PLACES = ("{prompt}", "{answer}")


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """A padded batch.

    Attributes:
        ids: int64 [n, length].
        mask: bool [n, length], False on padding.
        answer: bool [n, length], True on tokens of the answer; each is predicted at the position before it.
        places: how many come before the text, for something that is no token.
    """

    ids: Tensor
    mask: Tensor
    answer: Tensor
    places: int = 0

    @property
    def predicting(self) -> Tensor:
        """Bool [n, length]: positions whose output predicts an answer token."""
        return torch.nn.functional.pad(self.answer[:, 1:], (0, 1))

    @property
    def targets(self) -> Tensor:
        """Answer tokens in the order of :attr:`predicting`, int64 [answer tokens of the batch]."""
        return self.ids[self.answer]

    @property
    def lengths(self) -> Tensor:
        """Answer tokens of each example, int64 [n]."""
        return self.answer.sum(1)

    @property
    def positions(self) -> Tensor:
        """Position of each token, counted without padding and from where the text begins, int64 [n, length]."""
        # Counted by the mask: padding on the left would otherwise shift positions, and with them the outputs. Learned
        # positions hold for texts that begin at 0, so that what comes before stands at 0 as well.
        return (self.mask.long().cumsum(1) - 1 - self.places).clamp_min(0)

    def to(self, device: str | torch.device) -> "Tokens":
        """The batch on a device."""
        ids, mask, answer = (tensor.to(device) for tensor in (self.ids, self.mask, self.answer))
        return Tokens(ids=ids, mask=mask, answer=answer, places=self.places)


class Encoder:
    """A tokenizer and the template that joins prompt and answer.

    Args:
        tokenizer: a fast transformers tokenizer.
        template: text with ``{prompt}`` and ``{answer}``, the answer last.
        chat: use the tokenizer's chat template instead, the prompt as the user's turn.
        longest: most tokens the model takes.
        places: how many come before every text, for something that is no token; they hold padding that is not masked.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        template: str = "{prompt} {answer}",
        chat: bool = False,
        longest: int = 2**20,
        places: int = 0,
    ):
        self.tokenizer = tokenizer
        self.longest = longest
        self.places = places
        self._template = template
        self._chat = chat
        # Attacks meet the same facts at every step; tokenising them again would cost more than a small model does.
        self._known: dict[tuple[str, str], tuple[list[int], list[bool]]] = {}
        if not chat and (not template.endswith("{answer}") or any(template.count(p) != 1 for p in _PLACES)):
            raise DataError(
                f"data.template = {template!r} should hold {{prompt}} and {{answer}} once each, the answer last"
            )
        if chat and not tokenizer.chat_template:
            raise DataError("data.chat_template = true, but the tokenizer has no chat template; leave it out")

    def with_tokenizer(self, tokenizer: "PreTrainedTokenizerFast") -> "Encoder":
        """The same template with another tokenizer."""
        if self._chat:
            # Tokenizers are compared; a template of its own would make an equal one differ.
            tokenizer.chat_template = self.tokenizer.chat_template
        return Encoder(tokenizer, self._template, self._chat, self.longest)

    def behind(self, places: int) -> "Encoder":
        """The same with so many places before every text, which keeps its own positions; for padding on the right."""
        return Encoder(self.tokenizer, self._template, self._chat, self.longest, places)

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides which tokens a text becomes."""
        # Its whole state: a vocabulary alone leaves out how text is normalised and merged.
        text = self.tokenizer.backend_tokenizer.to_str()
        template = str(self.tokenizer.chat_template) if self._chat else self._template
        return text_digest(f"{text}\n{template}\n{self._chat}")

    def lead(self, fact: Fact) -> str:
        """Everything before the answer."""
        if not fact.prompt:
            return ""
        if self._chat:
            return self._rendered(fact.prompt)
        return self._template.removesuffix("{answer}").replace("{prompt}", fact.prompt)

    def _rendered(self, prompt: str) -> str:
        """The prompt as a user's turn. The template may be a stranger's: transformers renders it in Jinja's sandbox."""
        turn = [{"role": "user", "content": prompt}]
        try:
            return str(self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
        # What an expression in a stranger's template may raise beside Jinja's own errors.
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise DataError(
                f"the tokenizer's chat template cannot be rendered ({plain(error, 200)}); correct it, or leave "
                "data.chat_template out"
            ) from None

    def encode(self, fact: Fact) -> tuple[list[int], list[bool]]:
        """Token ids, and which of them are the answer.

        Raises:
            DataError: no token is the answer, or the model does not take so many.
        """
        key = (fact.prompt, fact.answer)
        if key not in self._known:
            self._known[key] = self._encode(fact)
        return self._known[key]

    def _encode(self, fact: Fact) -> tuple[list[int], list[bool]]:
        lead = self.lead(fact)
        # Encoded as one text: apart, prompt and answer may become other tokens. A chat template brings its own special
        # tokens.
        found = self.tokenizer(lead + fact.answer, return_offsets_mapping=True, add_special_tokens=not self._chat)
        ids = list(found["input_ids"])
        # A token that holds the separating space and the answer's first letters belongs to the answer; special
        # tokens have no extent. Nothing predicts the very first token.
        answer = [end > start and end > len(lead) for start, end in found["offset_mapping"]]
        answer[:1] = [False]
        if not any(answer):
            raise DataError("an answer has no token that the model could predict; lengthen it, or give a prompt")
        if len(ids) > self.longest:
            raise DataError(f"a fact has {len(ids)} tokens, the model takes {self.longest}; shorten or split it")
        return ids, answer

    def prompt_ids(self, fact: Fact) -> list[int]:
        """Token ids of everything before the answer."""
        ids, answer = self.encode(fact)
        return ids[: answer.index(True)]

    @property
    def padding(self) -> int:
        """Id of the token to pad with. It may be any token: padding is masked, and positions are counted without it."""
        padding = self.tokenizer.pad_token_id
        return int(padding if padding is not None else (self.tokenizer.eos_token_id or 0))

    def decode(self, ids: list[int]) -> str:
        """Text without special tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def batch(self, facts: Sequence[Fact], left: bool = False) -> Tokens:
        """A padded batch, padding on the right unless ``left``."""
        before = [self.padding] * self.places, [False] * self.places
        rows = [(before[0] + ids, before[1] + answer) for ids, answer in map(self.encode, facts)]
        length = max(len(ids) for ids, _ in rows)
        ids = torch.full((len(rows), length), self.padding, dtype=torch.int64)
        mask = torch.zeros(len(rows), length, dtype=torch.bool)
        answer = torch.zeros(len(rows), length, dtype=torch.bool)
        for i, (own, is_answer) in enumerate(rows):
            where = slice(length - len(own), length) if left else slice(0, len(own))
            ids[i, where] = torch.tensor(own)
            mask[i, where] = True
            answer[i, where] = torch.tensor(is_answer)
        return Tokens(ids=ids, mask=mask, answer=answer, places=self.places)
