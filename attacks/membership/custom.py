"""Membership in the scores of the user's class: can an adversary tell that the forget examples were trained on."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.attacks.membership import figures
from auditor.attacks.membership import scores as scorers
from auditor.attacks.membership.readings import (
    MARGIN,
    MembershipSettings,
    curves,
    detection_rates,
    margin_score,
    margins_of,
    require_holdout,
)
from auditor.checks.check import Check
from auditor.checks.subject import Scores
from auditor.records.access import Access
from auditor.records.base import Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Items, Score
from auditor.records.source import Source
from auditor.tasks.custom import scale
from auditor.tasks.custom.sets import CustomExamples, CustomSets
from auditor.tasks.custom.subject import CustomModel

# Every number of a large input would give the regression far more features than there are examples.
_BLIND_WIDTH = 64


class Membership(Check[CustomModel, CustomSets, MembershipSettings, scorers.Rate | None]):
    """Scores of forget examples less those of holdout examples, held against references.

    T(m) = mean over forget eval of s_m(x) − mean over holdout of s_m(x), s the user's score. Every reference is
    measured on the same examples, so each is calibrated by its own mean score over the references, as for images
    (:class:`auditor.attacks.membership.images.Membership`). T is unbounded for the same reason as there, and counted in
    units of the original's gap to the references: the user's unit has no meaning here.
    """

    name: ClassVar[str] = "membership"
    family: ClassVar[Family] = "privacy"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "logits"
    tasks: ClassVar[tuple[str, ...]] = ("custom",)
    asks: ClassVar[tuple[type, ...]] = (Scores,)
    needs: ClassVar[tuple[str, ...]] = ("forget", "retain", "holdout")
    summary: ClassVar[str] = (
        "Compared the model's scores of forget examples with those of examples never trained on, "
        "each against the references' scores of the same examples."
    )
    finds: ClassVar[str] = "For telling forgotten examples from unseen ones, the model's scores still hold"
    unit: ClassVar[str] = "mean score of forget less that of holdout, in units of the original's gap to the references"
    figures: ClassVar[tuple[Figure, ...]] = figures.CUSTOM
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2406.16201", here="the baseline that sees no model, on inputs and targets", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Unlearning was given the examples measured here too and can lower their scores without removing "
        "what the weights hold: membership in the scores clears the scores only.",
        "The attack curves decide nothing.",
    )
    settings_type: ClassVar[type[MembershipSettings]] = MembershipSettings

    def prepare(
        self, original: CustomModel, data: CustomSets, settings: MembershipSettings, seed: int
    ) -> scorers.Rate | None:
        """Compute the blind baseline, which sees no model and is the same for all."""
        return _blind(data, require_holdout(self.name, data), seed)

    def score(
        self,
        subject: CustomModel,
        artefact: scorers.Rate | None,
        data: CustomSets,
        settings: MembershipSettings,
        seed: int,
    ) -> Score:
        """Measure one model from its recordings of forget eval and holdout; its single items on both halves."""
        require_holdout(self.name, data)
        members, others, attack = (
            subject.scores(split).numpy() for split in ("forget_eval", "holdout", "forget_attack")
        )
        score = margin_score(self.name, members, others, artefact, settings, seed)
        # Both halves: nothing is trained on either, and a single kept example may lie in any of them.
        items = Items(forget=(*members.tolist(), *attack.tolist()), holdout=tuple(others.tolist()), tops=settings.tops)
        return score.model_copy(update={"items": items})

    def rescale(self, original: Score, references: Sequence[Score]) -> Callable[[Score], Score]:
        """From the user's unit to that of the original's gap."""
        return scale.in_gaps(original, references, MARGIN)

    def choose(self, original: Score, references: Sequence[Score]) -> tuple[str, ...]:
        """Choose the difference; the scores of holdout are carried for the curves."""
        return (MARGIN,)

    def summarise(
        self, scores: Mapping[str, Score], references: Sequence[str]
    ) -> tuple[list[Row], dict[str, dict[str, float]]]:
        """ROC curves (rows) and their AUC and TPR at low FPR (controls) of every model."""
        rows: list[Row] = []
        controls = {}
        for name, score in scores.items():
            attacks = {"score": margins_of(score)}
            rows += curves(name, attacks)
            controls[name] = detection_rates("score", *attacks["score"])
        return rows, controls


def _blind(data: CustomSets, holdout: CustomExamples, seed: int) -> scorers.Rate | None:
    """AUC of forget against holdout by inputs and targets alone; None where a side has fewer than ten examples."""
    return scorers.blind_rate({"forget": data.forget, "holdout": holdout, "retain": data.retain}, _table, seed)


def _table(examples: CustomExamples, places: NDArray[np.int64]) -> scorers.Table:
    """Inputs and targets as one row of numbers each, and labels."""
    some = examples.take(torch.from_numpy(places))
    parts = [_narrow(some.inputs)] if some.labelled else [_narrow(some.inputs), _narrow(some.targets)]
    return torch.cat(parts, dim=1).double().numpy(), some.labels.numpy()


def _narrow(part: torch.Tensor) -> torch.Tensor:
    """Each row as at most so many numbers, neighbours averaged; float32 [n, width]."""
    flat = part.float().reshape(len(part), -1)
    if flat.shape[1] <= _BLIND_WIDTH:
        return flat
    return torch.nn.functional.adaptive_avg_pool1d(flat[:, None], _BLIND_WIDTH)[:, 0]
