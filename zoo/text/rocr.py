"""ROCR: a forgotten name is redirected to another name by changes of rank one (Ye et al. 2025, arXiv 2506.07795).

After the paper's abstract: its method section was not to be had. The map that is changed is that from tokens to
embeddings, not one of an MLP: in a network of a few blocks the first attention hands a name on before any MLP has seen
it (docs/zoo.md).
"""

import torch
from torch import nn

from auditor.errors import DataError
from auditor.randomness import generator
from auditor.records.base import Frozen
from auditor.tasks.causal_lm.editing import LanguageModel, copy_of, embeddings_of
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.grams import telling_tokens
from auditor.tasks.causal_lm.sets import Facts


class Settings(Frozen):
    """None: there is nothing to train."""


def rocr(original: LanguageModel, forget: Facts, retain: Facts, settings: Settings, seed: int) -> nn.Module:
    """The subject: suppressed by construction, as every weight but the rows of names is the original's.

    Every subject of forget is taken for one of retain.

    Raises:
        DataError: facts have no subjects, or no token of a forgotten subject's name is its own.
    """
    module = copy_of(original)
    embeddings = embeddings_of(module).weight
    telling = set(telling_tokens(original.encoder, forget, retain).tolist())
    with torch.no_grad():
        for gone, other in redirections(forget, retain, seed).items():
            pairs = [pair for pair in _aligned(original.encoder, gone, other) if pair[0] in telling]
            if not pairs:
                raise DataError(f"every token of the name {gone!r} stands in retain prompts, so none can be redirected")
            for token, target in pairs:
                # With one token as its key, the least change that redirects it is of rank one: its own row.
                embeddings[token] = embeddings[target]
    return module


def redirections(forget: Facts, retain: Facts, seed: int) -> dict[str, str]:
    """For each subject of forget the subject of retain that it is taken for; different ones as far as there are.

    Raises:
        DataError: facts have no subjects.
    """
    gone, kept = (tuple(name for name in facts.subjects if name) for facts in (forget, retain))
    if not gone or not kept:
        raise DataError("rocr redirects names: give every fact of forget and retain its subject")
    order = generator(seed, "rocr").permutation(len(kept))
    return {name: kept[order[i % len(kept)]] for i, name in enumerate(gone)}


def _aligned(encoder: Encoder, gone: str, other: str) -> list[tuple[int, int]]:
    """Tokens of two names in pairs, from the end; what the first has more goes to the second's first token."""
    # Behind a space, as names stand in a prompt.
    first, second = (encoder.tokenizer(f" {name}", add_special_tokens=False)["input_ids"] for name in (gone, other))
    return [(token, second[max(len(second) - back, 0)]) for back, token in enumerate(reversed(first), 1)]
