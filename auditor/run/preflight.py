"""Runs every given model on a few examples before the first score: a wrong input then costs seconds, not the audit."""

import numpy as np

from auditor.records.events import Begun, Unit
from auditor.records.plan import PlannedModel
from auditor.records.score import Failure
from auditor.run.accuracy_checks import judge
from auditor.run.runner import Work, refuse_broken
from auditor.run.units import contained
from auditor.tasks import registry
from auditor.tasks.task import KEPT_ALONE, Accuracy

CHECK = "inputs"
"""Stands for a check in what is told to whoever watches."""
_ROLES = ("original", "unlearned", "reference")


def preflight(work: Work) -> None:
    """Measure the accuracies and judge the inputs by them.

    A model that cannot be run is passed over: the check `outputs` meets the same fault and reports it.

    Raises:
        UsageError: the original is near chance, or the accuracies do not fit the request.
    """
    # Bare weights cannot be run.
    if work.as_given is None:
        return
    found: dict[str, Accuracy] = {}
    for model in (model for model in work.plan.models if model.role in _ROLES):
        # A run that is taken up again need not load every model for this.
        accuracy = _of_scores(work, model) or _of_a_pass(work, model)
        if accuracy is not None:
            found[model.name] = accuracy
    # Before the comparisons, which mean nothing where the original is broken.
    if "original" in found:
        refuse_broken(work.plan, found["original"].kept)
    judge(work.plan, found)


def _of_scores(work: Work, model: PlannedModel) -> Accuracy | None:
    """What a finished score of the outputs says already; None where there is none."""
    planned = next((check for check in work.plan.checks if check.role == "outputs"), None)
    if planned is None:
        return None
    score = work.stored(work.unit(model, planned))
    if score is None or score.retain_accuracy is None:
        return None
    rows = [row for row in score.rows if str(row.get("split")).startswith("forget_")]
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
    make = work.as_given
    if make is None or Unit(check=CHECK, model=model.name) in work.lost:
        return None
    work.begin(Begun(check=CHECK, model=model.name))
    found: Accuracy | Failure = contained(
        lambda: registry.load(work.plan.task).accuracy(make(model), work.data), model.name
    )
    # The check of the outputs meets the same fault and reports it with its traceback.
    return None if isinstance(found, Failure) else found
