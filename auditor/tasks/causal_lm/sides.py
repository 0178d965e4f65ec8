"""Forget and holdout as chance divided them: facts by subject, which is what was assigned."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from auditor.records.score import Sides
from auditor.tasks.causal_lm.sets import Facts, FactsData


def sides(data: FactsData, forget: Sequence[Tensor], holdout: Tensor) -> Sides:
    """One number per subject on either side.

    Args:
        data: sets with an assigned holdout.
        forget: of the attack half and of the eval half, float [n] each.
        holdout: of the holdout facts, float [m].
    """
    assert data.holdout is not None, "an assignment has a holdout"
    own = np.concatenate([values.double().numpy() for values in forget])
    return Sides(forget=by_subject(data.forget, own), holdout=by_subject(data.holdout, holdout.double().numpy()))


def by_subject(facts: Facts, values: np.ndarray) -> tuple[float, ...]:
    """Mean over the facts of each subject, in order of first appearance; a fact without a subject is one by itself."""
    groups = subjects_of(facts)
    return tuple((np.bincount(groups, weights=values) / np.bincount(groups)).tolist())


def subjects_of(facts: Facts) -> np.ndarray:
    """Of each fact the number of its subject, int64 [n]."""
    # The flag keeps a fact without a subject apart from a subject that is called by its number.
    keys = [(fact.subject or str(i), bool(fact.subject)) for i, fact in enumerate(facts.items)]
    numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys])


def n_subjects(facts: Facts) -> int:
    """How many were assigned."""
    return len(set(subjects_of(facts).tolist()))
