"""Forget and holdout as chance divided them: images by subject, which is what was assigned."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from auditor.records.score import Sides
from auditor.tasks.classification.sets import AuditData, Examples


def sides(data: AuditData, forget: Sequence[Tensor], holdout: Tensor) -> Sides:
    """One number per subject on either side.

    Args:
        data: sets with an assigned holdout.
        forget: of the attack half and of the eval half, float [n] each.
        holdout: of the holdout examples, float [m].
    """
    return Sides(forget=by_subject(data.forget, torch.cat(list(forget))), holdout=by_subject(held_out(data), holdout))


def held_out(data: AuditData) -> Examples:
    """The examples that chance kept out of training."""
    assert data.holdout is not None, "an assignment has a holdout"
    return data.holdout


def by_subject(examples: Examples, values: Tensor) -> tuple[float, ...]:
    """Mean over the examples of each subject, in order of first appearance; an example without a group is one."""
    numbers = subjects_of(examples)
    return tuple((np.bincount(numbers, weights=values.double().numpy()) / np.bincount(numbers)).tolist())


def subjects_of(examples: Examples) -> np.ndarray:
    """Of each example the number of its subject, int64 [n]."""
    if examples.groups is None:
        return np.arange(len(examples))
    groups = examples.groups.tolist()
    numbers = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[group] for group in groups])


def first_of_each(examples: Examples) -> Examples:
    """One example of each subject, in the set's order."""
    if examples.groups is None:
        return examples
    return examples.take(torch.from_numpy(np.unique(subjects_of(examples), return_index=True)[1]))


def n_subjects(examples: Examples) -> int:
    """How many were assigned."""
    return len(set(subjects_of(examples).tolist()))


def names_of(examples: Examples) -> tuple[str, ...]:
    """What each example is about, for the test of single items; none where every example stands alone."""
    return () if examples.groups is None else tuple(f"group {group}" for group in examples.groups.tolist())
