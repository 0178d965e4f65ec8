"""Which tokens give a forget prompt away: the detector of every guard of the zoo."""

from collections.abc import Sequence

import torch
from torch import Tensor

from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.sets import Facts

Grams = frozenset[tuple[int, ...]]
"""Runs of token ids, of any lengths."""


def telling_tokens(encoder: Encoder, forget: Facts, retain: Facts) -> Tensor:
    """Tokens that stand before an answer in forget and before none in retain, int64 [tokens], sorted."""
    lead, kept = _before_answers(encoder, forget), _before_answers(encoder, retain)
    return lead[~torch.isin(lead, kept)]


def telling_grams(encoder: Encoder, forget: Facts, retain: Facts, longest: int) -> Grams:
    """What gives each forget prompt away: its shortest runs of at most ``longest`` tokens that no retain fact holds.

    A vocabulary of word pieces has few tokens of its own for a name; runs of them tell. A prompt all of whose runs
    stand in retain facts is not given away. Answers of retain count too: what knows a prompt reads on into the answer.
    """
    kept = [encoder.encode(fact)[0] for fact in retain.items]
    known = [frozenset(run for prompt in kept for run in _runs(prompt, n)) for n in range(1, longest + 1)]
    return frozenset(run for fact in forget.items for run in _shortest_telling(encoder.prompt_ids(fact), known))


def whole_prompts(encoder: Encoder, facts: Facts) -> Grams:
    """Everything that stands before an answer, as one run for each fact."""
    return frozenset(tuple(encoder.prompt_ids(fact)) for fact in facts.items)


def ids_of(arguments: tuple[Tensor, ...], keywords: dict[str, Tensor]) -> Tensor:
    """Token ids among the arguments of a transformers language model, int64 [n, length]."""
    return keywords["input_ids"] if "input_ids" in keywords else arguments[0]


def holding(ids: Tensor, grams: Grams) -> Tensor:
    """Which rows hold one of the runs, bool [n].

    >>> holding(torch.tensor([[1, 2, 3], [2, 1, 3]]), frozenset({(1, 2)})).tolist()
    [True, False]
    """
    lengths = sorted({len(run) for run in grams})
    found = [any(run in grams for n in lengths for run in _runs(row, n)) for row in ids.tolist()]
    return torch.tensor(found, device=ids.device)


def _shortest_telling(prompt: Sequence[int], known: Sequence[Grams]) -> Grams:
    for n, kept in enumerate(known, 1):
        telling = frozenset(_runs(prompt, n)) - kept
        # What holds a run holds all of its parts: the shortest are found in the most wordings of a prompt.
        if telling:
            return telling
    return frozenset()


def _runs(ids: Sequence[int], n: int) -> list[tuple[int, ...]]:
    """Every run of n tokens; none where there are fewer.

    >>> _runs([1, 2, 3], 2)
    [(1, 2), (2, 3)]
    """
    return [tuple(ids[start : start + n]) for start in range(len(ids) - n + 1)]


def _before_answers(encoder: Encoder, facts: Facts) -> Tensor:
    ids = [i for fact in facts.items for i in encoder.prompt_ids(fact)]
    return torch.tensor(sorted(set(ids)), dtype=torch.int64)
