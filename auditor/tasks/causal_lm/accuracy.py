"""How much of its facts a language model knows by heart, on a few of them, before the first score."""

import torch

from auditor.checks.sets import evenly
from auditor.tasks.causal_lm.recording import fact_means
from auditor.tasks.causal_lm.sets import Facts, FactsData
from auditor.tasks.causal_lm.subject import CausalLM
from auditor.tasks.task import Accuracy

# Asked of every model before the first score, to find what is surely wrong: it must cost little.
_FACTS = 64


def accuracy(subject: CausalLM, data: FactsData) -> Accuracy:
    """See :meth:`auditor.tasks.task.Task.accuracy`."""
    forget, kept = (evenly(facts, _FACTS) for facts in (data.forget, data.splits()[data.utility_split]))
    shares = [_memorised(subject, facts) for facts in (forget, kept)]
    return Accuracy(forget=shares[0], kept=shares[1], kept_alone=shares[1], n_kept=len(kept))


def _memorised(subject: CausalLM, facts: Facts) -> float:
    shares = []
    with torch.no_grad():
        for tokens in subject.batches(facts):
            hits = subject.answer_logits(tokens).argmax(-1) == tokens.targets
            shares.append(fact_means(hits.cpu(), tokens.lengths.cpu()))
    return float(torch.cat(shares).mean())
