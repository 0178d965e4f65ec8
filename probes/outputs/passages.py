"""Passages of text: does the model go on from their first half as they do?

Verbatim memorisation after MUSE (Shi et al. 2024, arXiv 2407.06460), by ROUGE-L recall in place of its F1: what is said
has as many tokens as what is missing, so that a long answer gains nothing. Measured beside the score; nothing is
decided by it.
"""

import numpy as np

from auditor.rouge import rouge_l_recall
from auditor.tasks.causal_lm.encoding import Encoder
from auditor.tasks.causal_lm.sets import Fact, Facts
from auditor.tasks.causal_lm.subject import CausalLM

CONTINUED = "passages continued word for word (ROUGE-L)"
FEWEST_WORDS = 8
"""Of a text that is a passage; of a shorter one half is no beginning."""


def halved(facts: Facts) -> Facts:
    """Of every plain text that is long enough, its first half of words as prompt, the rest as answer."""
    parts = [fact.answer.split() for fact in facts.items if not fact.prompt]
    return Facts(
        tuple(
            Fact(prompt=" ".join(words[: len(words) // 2]), answer=" ".join(words[len(words) // 2 :]))
            for words in parts
            if len(words) >= FEWEST_WORDS
        )
    )


def continued(subject: CausalLM, forget: Facts, longest: int) -> dict[str, float]:
    """Mean ROUGE-L recall of the second halves in greedy continuations of the first; empty without passages.

    Args:
        subject: asked to go on with a text, whatever the template of questions is.
        forget: facts, of which some may be passages.
        longest: tokens of a continuation, at most; what lies behind them is not asked for.
    """
    passages = halved(forget)
    if not len(passages):
        return {}
    plain = subject.asked_by(Encoder(subject.encoder.tokenizer, longest=subject.encoder.longest))
    said = plain.generate(passages, longest)
    pairs = zip(passages.items, said, strict=True)
    return {CONTINUED: float(np.mean([_recall(fact.answer, text, longest, plain.encoder) for fact, text in pairs]))}


def _recall(answer: str, said: str, longest: int, encoder: Encoder) -> float:
    # Of what there was room for: words that could not be said are not missed.
    ids = encoder.tokenizer(answer, add_special_tokens=False)["input_ids"][:longest]
    return rouge_l_recall(encoder.decode(ids), said)
