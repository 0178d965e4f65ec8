"""How well forget is told from holdout by its words alone: the baseline that never sees a model."""

from collections.abc import Sequence

import numpy as np

from auditor.attacks.membership.scores import Array
from auditor.inference.auc import Rate, auc_with_limits
from auditor.tasks.causal_lm.sets import Facts

_FEWEST = 10
_MOST_FOLDS = 5


def blind_auc(members: Facts, non_members: Facts, seed: int) -> Rate | None:
    """AUC of a logistic regression on word counts, cross-validated (Das et al. 2024, arXiv 2406.16201).

    Facts of one subject stand in one fold: its name in several would tell the sides apart whatever their distribution.

    Args:
        members: forget facts.
        non_members: holdout facts.
        seed: of the folds.

    Returns:
        AUC of the out-of-fold scores with its limits; None with fewer than ten facts or two subjects on a side.
    """
    groups = [_groups(members, "forget"), _groups(non_members, "holdout")]
    # More folds than subjects would leave a side out of some of them.
    n_folds = min(_MOST_FOLDS, *(len(set(side)) for side in groups))
    if min(len(members), len(non_members)) < _FEWEST or n_folds < 2:
        return None
    texts = [f"{fact.prompt} {fact.answer}" for fact in members.items + non_members.items]
    is_member = np.repeat([1, 0], [len(members), len(non_members)])
    found = _out_of_fold(texts, is_member, groups[0] + groups[1], n_folds, seed)
    return auc_with_limits(found[: len(members)], found[len(members) :])


def _groups(facts: Facts, side: str) -> list[str]:
    """What each fact is about; a fact without a subject stands alone."""
    return [f"{side} {fact.subject}" if fact.subject else f"{side} #{i}" for i, fact in enumerate(facts.items)]


def _out_of_fold(texts: Sequence[str], target: Array, groups: Sequence[str], n_folds: int, seed: int) -> Array:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    # Initials, digits and signs count as words: scikit-learn's own pattern drops them, and sets may differ in them.
    words = CountVectorizer(token_pattern=r"\S+", binary=True)
    # liblinear draws the order of its steps: the fixed state gives every audit the same AUC.
    model = make_pipeline(words, LogisticRegression(class_weight="balanced", solver="liblinear", random_state=0))
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    found: Array = cross_val_predict(model, texts, target, groups=groups, cv=folds, method="decision_function")
    return found
