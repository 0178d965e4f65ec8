"""Accuracies of a classifier on a few examples, before the first score."""

from dataclasses import replace

import torch
from torch import Tensor

from auditor.checks.sets import evenly
from auditor.tasks.classification.sets import AuditData, Examples
from auditor.tasks.classification.subject import Classifier
from auditor.tasks.task import Accuracy

# Asked of every model before the first score, to find what is surely wrong: it must cost little.
_EXAMPLES = 512


def accuracy(subject: Classifier, data: AuditData) -> Accuracy:
    """See :meth:`auditor.tasks.task.Task.accuracy`."""
    halves = (data.forget_attack, data.forget_eval)
    forget = replace(halves[0], raw=torch.cat([h.raw for h in halves]), labels=torch.cat([h.labels for h in halves]))
    some, kept = evenly(forget, _EXAMPLES), evenly(data.splits()[data.utility_split], _EXAMPLES)
    said, logits = _logits(subject, some), _logits(subject, kept)
    # The type is named, since a tensor of no classes would be of floats, which are no index.
    alone = logits.index_fill(1, torch.tensor(data.classes, dtype=torch.int64), -torch.inf)
    return Accuracy(
        forget=_share(said, some),
        kept=_share(logits, kept),
        kept_alone=_share(alone, kept),
        n_kept=len(kept),
    )


def _logits(subject: Classifier, examples: Examples) -> Tensor:
    logits: Tensor = subject.logits(examples)
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("logits that are no numbers")
    return logits


def _share(logits: Tensor, examples: Examples) -> float:
    return float((logits.argmax(1) == examples.labels).double().mean())
