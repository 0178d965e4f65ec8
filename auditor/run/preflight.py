"""Runs every given model on a few examples before the first score: a wrong input then costs seconds, not the audit."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from auditor.data import AuditData, Examples
from auditor.facts import Facts, FactsData
from auditor.records.events import Begun, Unit
from auditor.records.plan import PlannedModel
from auditor.run.accuracy_checks import KEPT_ALONE, Accuracy, judge
from auditor.run.runner import Work, refuse_broken, score_key
from auditor.token_statistics import fact_means

CHECK = "inputs"
"""Stands for a check in what is told to whoever watches."""
_EXAMPLES = 512
_FACTS = 128
_ROLES = ("original", "unlearned", "reference")


def preflight(work: Work) -> None:
    """Measure the accuracies and judge the inputs by them.

    A model that cannot be run is passed over: the check `outputs` meets the same fault and reports it.

    Raises:
        UsageError: the original is near chance, or the accuracies do not fit the request.
    """
    if not work.plan.layers:
        return
    found: dict[str, Accuracy] = {}
    for model in (model for model in work.plan.models if model.role in _ROLES):
        accuracy = _of_scores(work, model) or _of_a_pass(work, model)
        if accuracy is not None:
            found[model.name] = accuracy
    if "original" in found:
        refuse_broken(work.plan, found["original"].kept)
    judge(work.plan, found)


def _of_scores(work: Work, model: PlannedModel) -> Accuracy | None:
    """What a finished score of the outputs says already; None where there is none."""
    planned = next((check for check in work.plan.checks if check.name == "outputs"), None)
    if planned is None or model.name in work.anew:
        return None
    score = work.store.get(score_key(work.plan, model, planned, work.data.digest))
    if score is None or score.retain_accuracy is None:
        return None
    rows = [row for row in score.cells if str(row.get("split")).startswith("forget_")]
    sizes = [float(row["n"] or 0) for row in rows]
    shares = [float(row["accuracy"] or 0) for row in rows]
    return Accuracy(
        forget=float(np.average(shares, weights=sizes)),
        kept=score.retain_accuracy,
        kept_alone=score.controls.get(KEPT_ALONE, score.retain_accuracy),
        n_kept=len(work.data.splits()[work.data.utility_split]),
    )


def _of_a_pass(work: Work, model: PlannedModel) -> Accuracy | None:
    """Measured now; None where the model cannot be run or took the process down before."""
    if Unit(check=CHECK, model=model.name) in work.lost:
        return None
    work.begin(Begun(check=CHECK, model=model.name))
    try:
        return measure(work.subject(model), work.data)
    except Exception:  # noqa: BLE001 - the check outputs meets the same fault and reports it with its traceback
        return None


def measure(subject: Any, data: AuditData | FactsData) -> Accuracy:
    """One pass over at most 512 examples, or 128 facts, of the forget set and of what is kept.

    Raises:
        ValueError: the model gives NaN.
    """
    if isinstance(data, FactsData):
        forget, kept = (_few(facts, _FACTS) for facts in (data.forget, data.splits()[data.utility_split]))
        shares = [_memorised(subject, facts) for facts in (forget, kept)]
        return Accuracy(forget=shares[0], kept=shares[1], kept_alone=shares[1], n_kept=len(kept))
    return _of_images(subject, data)


def _of_images(subject: Any, data: AuditData) -> Accuracy:
    halves = (data.forget_attack, data.forget_eval)
    forget = replace(halves[0], raw=torch.cat([h.raw for h in halves]), labels=torch.cat([h.labels for h in halves]))
    some, kept = _few(forget, _EXAMPLES), _few(data.splits()[data.utility_split], _EXAMPLES)
    said, logits = _logits(subject, some), _logits(subject, kept)
    alone = logits.index_fill(1, torch.tensor(data.classes, dtype=torch.int64), -torch.inf)
    return Accuracy(
        forget=_share(said, some),
        kept=_share(logits, kept),
        kept_alone=_share(alone, kept),
        n_kept=len(kept),
    )


def _logits(subject: Any, examples: Examples) -> torch.Tensor:
    logits: torch.Tensor = subject.logits(examples)
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("logits that are no numbers")
    return logits


def _share(logits: torch.Tensor, examples: Examples) -> float:
    return float((logits.argmax(1) == examples.labels).double().mean())


def _memorised(subject: Any, facts: Facts) -> float:
    shares = []
    with torch.no_grad():
        for tokens in subject.batches(facts):
            hits = (subject.answer_logits(tokens).argmax(-1) == tokens.targets).double()
            shares.append(fact_means(hits.cpu(), tokens.lengths.cpu()))
    return float(torch.cat(shares).mean())


def _few(whole: Any, most: int) -> Any:
    """Examples or facts evenly spread over a set, since files are often sorted by class."""
    return whole.take(torch.arange(0, len(whole), -(-len(whole) // most)))
