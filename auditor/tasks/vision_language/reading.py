"""How a model of LLaVA's shape is scored and read: passes, with and without its inner states."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from auditor.tasks.vision_language.packing import ABSENT, Sequences, sequences

Module = Any
"""A network of LLaVA's shape: its attributes are transformers', which have no types here."""


def answer_log_probabilities(model: Module, inputs: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    """Of every token of the answer given picture, question and the tokens before it.

    Args:
        model: of LLaVA's shape.
        inputs: as :func:`~auditor.tasks.vision_language.packing.pack` gives them.
        answers: ids, [n, length].

    Returns:
        Log-probabilities float32 [n, length, vocabulary], and which tokens there are, bool [n, length].
    """
    given = sequences(model, inputs, answers)
    # Of a large vocabulary, logits at every place would take more memory than the network.
    kept, where = given.places.unique(return_inverse=True)
    output = model(
        input_ids=given.ids, pixel_values=given.pictures, use_cache=False, logits_to_keep=kept, return_dict=True
    )
    rows = torch.arange(len(inputs), device=inputs.device)[:, None]
    return output.logits[rows, where].float().log_softmax(-1), given.present


def mean_log_probability(model: Module, inputs: Tensor, answers: Tensor) -> Tensor:
    """Mean over the answer's tokens, in nats, float32 [n]."""
    found, present = answer_log_probabilities(model, inputs, answers)
    own = found.gather(2, answers.clamp(min=0)[:, :, None])[:, :, 0]
    return (own * present).sum(1) / present.sum(1)


def first_choices(model: Module, inputs: Tensor, answers: Tensor) -> Tensor:
    """Whether every token of the answer is the model's first choice, bool [n]."""
    found, present = answer_log_probabilities(model, inputs, answers)
    return ((found.argmax(-1) == answers) | ~present).all(1)


@dataclass(frozen=True, kw_only=True)
class States:
    """Inner states of some examples at the end of one block.

    Attributes:
        name: of the block.
        answer: where the answer's first token is predicted, [n, width].
        image: mean over the picture's tokens, [n, width].
        normed: whether they have passed the final norm, as those of the last block have.
    """

    name: str
    answer: Tensor
    image: Tensor
    normed: bool


def states(model: Module, inputs: Tensor) -> Iterator[States]:
    """By block of the language model, in order."""
    given: Sequences = sequences(model, inputs)
    output = model(
        input_ids=given.ids,
        pixel_values=given.pictures,
        use_cache=False,
        output_hidden_states=True,
        logits_to_keep=1,
        return_dict=True,
    )
    hidden = output.hidden_states[1:]
    rows, last = torch.arange(len(inputs), device=inputs.device), given.places[:, 0]
    share = given.image[:, :, None].to(hidden[0]) / given.image.sum(1)[:, None, None]
    for number, state in enumerate(hidden, start=1):
        yield States(
            name=f"block {number}",
            answer=state[rows, last],
            image=(state * share).sum(1),
            normed=number == len(hidden),
        )


def through_the_head(model: Module, found: Tensor, *, normed: bool) -> Tensor:
    """Logit lens: inner states through the model's own final norm and head, float32 [n, vocabulary] log-probabilities.

    Args:
        model: of LLaVA's shape.
        found: states, [n, width].
        normed: whether they have passed the norm.
    """
    state = found if normed else model.model.language_model.norm(found)
    logits: Tensor = model.lm_head(state)
    return logits.float().log_softmax(-1)


def first_tokens(answers: Tensor) -> Tensor:
    """Of each answer, int64 [n]."""
    assert bool((answers[:, 0] != ABSENT).all()), "no answer is empty"
    return answers[:, 0]
