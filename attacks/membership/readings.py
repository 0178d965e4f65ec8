"""From scores of members and non-members to a check's score and its curves, whatever the scores are of."""

from collections.abc import Mapping, Sequence, Sized
from typing import Protocol, TypeVar

import numpy as np
from pydantic import Field, field_validator

from auditor.attacks.membership import scores as scorers
from auditor.attacks.membership.scores import Array
from auditor.errors import UsageError
from auditor.inference.auc import auc_with_limits
from auditor.inference.monte_carlo import permutation_null
from auditor.inference.top_items import TOPS
from auditor.randomness import generator
from auditor.records.base import Frozen, Row
from auditor.records.score import Reading, Score

MARGIN = "margin"
HOLDOUT = "holdout margin"
# Of the curves, which describe and decide nothing.
# At .1 % the ten false positives that a rate needs would take 10,000 holdout examples.
TARGET_FPR = 0.01
_ROC_POINTS = 50

_Set = TypeVar("_Set", bound=Sized, covariant=True)
Attacks = Mapping[str, tuple[Array, Array]]
"""Scores of members and of non-members, by attack."""


class MembershipSettings(Frozen):
    """What every membership check fixes beforehand."""

    n_permutations: int = Field(
        # Holm asks a p of about .001 of the first secondary check: a thousand draws would hardly reach it.
        default=9999,
        ge=9999,
        description="draws of the permutation null, which serves without references",
    )
    tops: tuple[int, ...] = Field(
        default=TOPS, description="how many of the highest items the test of single items looks at, ascending"
    )

    @field_validator("tops")
    @classmethod
    def _ascending(cls, tops: tuple[int, ...]) -> tuple[int, ...]:
        # The exact correction over them takes each set of highest items to lie within the next.
        if not tops or tops[0] < 1 or list(tops) != sorted(set(tops)):
            raise ValueError("give whole numbers from 1 on, ascending and each once")
        return tops


class _Sets(Protocol[_Set]):
    @property
    def forget_eval(self) -> _Set: ...

    @property
    def holdout(self) -> _Set | None: ...


def require_holdout(check: str, data: _Sets[_Set]) -> _Set:
    """Get the holdout set.

    Raises:
        UsageError: there is none, or too little of it or of the forget set to compare.
    """
    if data.holdout is None:
        raise UsageError(
            f"{check} needs holdout examples (like the forget set, never trained on), and none were given; "
            "add --holdout"
        )
    if len(data.holdout) < 2 or len(data.forget_eval) < 2:
        raise UsageError(
            f"{check} needs at least 2 forget examples to measure and 2 holdout examples; "
            f"there are {len(data.forget_eval)} and {len(data.holdout)}; give more of them"
        )
    return data.holdout


def margin_score(
    check: str,
    members: Array,
    non_members: Array,
    blind: scorers.Rate | None,
    settings: MembershipSettings,
    seed: int,
    blocks: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Score:
    """Make a score from margins of forget eval [n] and holdout [m], whatever layer they were read at.

    Args:
        check: name of the check.
        members: margins of forget eval.
        non_members: margins of holdout.
        blind: of the baseline that sees no model; where it beats chance there is no permutation null.
        settings: how many permutations.
        seed: of the permutations.
        blocks: what examples are about, for :func:`auditor.inference.monte_carlo.permutation_null`.
    """
    contributions = scorers.difference(members, non_members)
    void = is_void(blind)
    null: Sequence[float] = ()
    # Where nobody could tell whether the sets differ (None), their labels may not be exchanged either.
    if void is False:
        random = generator(seed, "membership", "permutations")
        null = permutation_null(members, non_members, settings.n_permutations, random, blocks).tolist()
    return Score(
        check=check,
        readings={
            MARGIN: Reading(value=float(contributions.mean()), examples=tuple(contributions.tolist())),
            # With it the margins themselves can be had again from a stored score.
            HOLDOUT: Reading(value=float(non_members.mean()), examples=tuple(non_members.tolist())),
        },
        n_examples=len(members),
        null=tuple(null),
        controls=_blind_controls(blind),
        notes=_blind_notes(blind),
    )


def is_void(blind: scorers.Rate | None) -> bool | None:
    """Whether forget and holdout differ without any model; None where too few examples could tell."""
    # The lower limit: of two like sets the AUC itself lies above a half every other time.
    return None if blind is None else blind.low > 0.5


def _blind_controls(blind: scorers.Rate | None) -> dict[str, float]:
    if blind is None:
        return {}
    return {
        "blind AUC": blind.value,
        "blind AUC low": blind.low,
        "blind AUC high": blind.high,
        "void without references": float(blind.low > 0.5),
    }


def _blind_notes(blind: scorers.Rate | None) -> tuple[str, ...]:
    if blind is None:
        return ("Too few forget or holdout examples to test whether the two sets differ without any model.",)
    if not is_void(blind):
        return ()
    return (
        f"Forget and holdout differ without any model (blind AUC {blind.value:.2f}, lower limit "
        f"{blind.low:.2f}): the attack curves are void, since they may show this difference and not "
        "membership; only the comparison with references on the same examples stands.",
    )


def margins_of(score: Score) -> tuple[Array, Array]:
    """Margins of forget eval and of holdout, as they were measured."""
    holdout = np.asarray(score.readings[HOLDOUT].examples)
    # T holds differences: the holdout mean that was taken off is put back.
    return np.asarray(score.readings[MARGIN].examples) + holdout.mean(), holdout


def curves(model: str, attacks: Attacks) -> list[Row]:
    """Rows of each attack's ROC curve on one model."""
    return [
        {"model": model, "attack": attack, "fpr": fpr, "tpr": tpr}
        for attack, sides in attacks.items()
        for fpr, tpr in scorers.roc_points(*sides, _ROC_POINTS)
    ]


def detection_rates(attack: str, members: Array, others: Array) -> dict[str, float]:
    """AUC, and TPR at a FPR of one in a hundred or 10/n, each with its limits; in [0, 1]."""
    area = auc_with_limits(members, others)
    rates = {f"{attack} AUC": area.value, f"{attack} AUC low": area.low, f"{attack} AUC high": area.high}
    point = scorers.tpr_at_low_fpr(members, others, TARGET_FPR)
    if point is not None:
        rates |= {
            f"{attack} FPR": point.fpr.value,
            f"{attack} FPR high": point.fpr.high,
            f"{attack} TPR": point.tpr.value,
            f"{attack} TPR low": point.tpr.low,
            f"{attack} TPR high": point.tpr.high,
        }
    return rates
