"""Which tokens give a forget prompt away: the detector of every guard of the zoo."""

import torch
from torch import Tensor

from auditor.facts import Facts
from auditor.subjects.encoding import Encoder


def telling_tokens(encoder: Encoder, forget: Facts, retain: Facts) -> Tensor:
    """Tokens that stand before an answer in forget and before none in retain, int64 [tokens], sorted."""
    lead, kept = _before_answers(encoder, forget), _before_answers(encoder, retain)
    return lead[~torch.isin(lead, kept)]


def ids_of(arguments: tuple[Tensor, ...], keywords: dict[str, Tensor]) -> Tensor:
    """Token ids among the arguments of a transformers language model, int64 [n, length]."""
    return keywords["input_ids"] if "input_ids" in keywords else arguments[0]


def named_in(ids: Tensor, names: Tensor) -> Tensor:
    """Which rows hold one of the tokens, bool [n]."""
    return torch.isin(ids, names.to(ids.device)).any(1)


def _before_answers(encoder: Encoder, facts: Facts) -> Tensor:
    ids = [i for fact in facts.items for i in encoder.prompt_ids(fact)]
    return torch.tensor(sorted(set(ids)), dtype=torch.int64)
