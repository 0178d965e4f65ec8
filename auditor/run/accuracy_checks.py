"""What the models' accuracies say of the inputs: preprocessing, the order of the two models, the recipe."""

from collections.abc import Mapping

from auditor.errors import UsageError
from auditor.records.plan import Plan
from auditor.tasks import registry
from auditor.tasks.task import Accuracy

_EXCHANGED = 0.25
"""No unlearning makes a model so much better at the forget set than the original, in accuracy."""


def judge(plan: Plan, found: Mapping[str, Accuracy]) -> None:
    """Stop where the accuracies cannot be those of the models that the request speaks of.

    Args:
        plan: with the policy and what the user said.
        found: by name in the plan, of the models that could be run.

    Raises:
        UsageError: naming what does not fit and what to check.
    """
    original = found.get("original")
    if original is None:
        return
    _not_exchanged(original, found.get("unlearned"))
    _as_stated(plan, original)
    names = {model.name for model in plan.models_of("reference")}
    # Without the forgotten classes, on which no reference can be right.
    _not_below_references(plan, original, [a.kept_alone for name, a in found.items() if name in names])


def _not_exchanged(original: Accuracy, unlearned: Accuracy | None) -> None:
    if unlearned is not None and unlearned.forget - original.forget >= _EXCHANGED:
        raise UsageError(
            f"the unlearned model is right on {_percent(unlearned.forget)} of the forget set and the original on "
            f"{_percent(original.forget)}: did you exchange the two? The original comes first in `audit compare`, "
            "and stands in models.original"
        )


def _as_stated(plan: Plan, original: Accuracy) -> None:
    stated = plan.asked.models.original_accuracy
    if stated is None:
        return
    # Two standard errors: the stated accuracy is of other examples than these.
    error = 2 * (stated * (1 - stated) / original.n_kept) ** 0.5
    if abs(stated - original.kept) > plan.policy.thresholds.retain + error:
        raise UsageError(
            f"models.original_accuracy = {stated:g}, and the original is right on {_percent(original.kept)} of "
            f"{_kept_set(plan)}: {_suspects(plan)}"
        )


def _not_below_references(plan: Plan, original: Accuracy, references: list[float]) -> None:
    """The original below every reference, by more than is tolerated and by more than they differ among themselves."""
    if not references:
        return
    lowest, apart = min(references), max(references) - min(references)
    if lowest - original.kept_alone > max(plan.policy.thresholds.retain, apart):
        kept = f"{_kept_set(plan)}{', forgotten classes aside' if plan.classes else ''}"
        raise UsageError(
            f"the original is right on {_percent(original.kept_alone)} of {kept}, and every reference on "
            f"{_percent(lowest)} or more: {_suspects(plan)}; or train the references by the original's recipe"
        )


def _kept_set(plan: Plan) -> str:
    return "retain_test" if any(item.name == "retain_test" for item in plan.data) else "retain"


def _suspects(plan: Plan) -> str:
    return registry.load(plan.task).suspects


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
