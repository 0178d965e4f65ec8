"""Membership in the outputs: can an adversary tell that the forget examples were trained on."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
from auditor.attacks.membership.scores import Array
from auditor.checks.check import Check
from auditor.records.access import Access
from auditor.records.base import Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Items, Reading, Score, Sides
from auditor.records.source import Source
from auditor.tasks.classification.sets import AuditData, Examples
from auditor.tasks.classification.sides import first_of_each, names_of, sides
from auditor.tasks.classification.subject import Classifier

ATTACK = "attack-half margin"
# Of the curves, which describe and decide nothing.
_RMIA_GRID = tuple(round(0.1 * i, 1) for i in range(11))
_RMIA_GAMMA = 1.0
# Every pixel of a large image would give the regression far more features than there are examples.
_BLIND_SIZE = 8


class Membership(Check[Classifier, AuditData, MembershipSettings, scorers.Rate | None]):
    """Margins of forget examples less those of holdout examples, held against references.

    T(m) = mean over forget eval of φ_m(x) − mean over holdout of φ_m(x), in nats, φ the logit margin
    (:attr:`auditor.tasks.classification.recording.Recording.margins`).

    Examples differ in hardness, and T does not correct for that within one model. It need not: every
    reference r is measured on the same examples, so with r̄ = mean_r T(r)

        T(u) − r̄ = mean_x [φ_u(x) − mean_r φ_r(x)] − mean_h [φ_u(h) − mean_r φ_r(h)],

    in which each example is calibrated by its own mean margin over the references. ρ is the quotient of that
    for the unlearned model and for the original.

    φ is used unbounded. Its bounded transforms (p_y, or φ clipped) have wider gaps between original and
    references, but only because they hardly move once the label is not the top class any more, which is
    what suppression brings about: they would call a relabelled model deleted.
    """

    name: ClassVar[str] = "membership"
    family: ClassVar[Family] = "privacy"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "logits"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    needs: ClassVar[tuple[str, ...]] = ("forget", "retain", "holdout")
    summary: ClassVar[str] = (
        "Compared the model's margins on forget examples with those on examples never trained on, "
        "each against the references' margins on the same examples."
    )
    finds: ClassVar[str] = "For telling forgotten examples from unseen ones, the model's outputs still hold"
    unit: ClassVar[str] = "mean logit margin on forget less that on holdout (nats)"
    figures: ClassVar[tuple[Figure, ...]] = figures.IMAGES
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2112.03570", here="the logit margin that is scored; LiRA offline is drawn"),
        Source(paper="arXiv 2312.03262", here="RMIA offline, drawn", part=True),
        Source(paper="arXiv 1709.01604", here="the loss as an attack, drawn", part=True),
        Source(paper="arXiv 2406.16201", here="the baseline that sees no model, here on pixels", part=True),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Unlearning was given the examples measured here too and can lower their margins without removing "
        "what the weights hold: membership in the outputs clears the outputs only.",
        "The attack curves decide nothing.",
    )
    settings_type: ClassVar[type[MembershipSettings]] = MembershipSettings

    def prepare(
        self, original: Classifier, data: AuditData, settings: MembershipSettings, seed: int
    ) -> scorers.Rate | None:
        """Compute the blind baseline, which sees no model and is the same for all."""
        return blind_baseline(data, require_holdout(self.name, data), seed)

    def score(
        self,
        subject: Classifier,
        artefact: scorers.Rate | None,
        data: AuditData,
        settings: MembershipSettings,
        seed: int,
    ) -> Score:
        """Measure one model from its recordings of forget eval and holdout; its single items on both halves."""
        require_holdout(self.name, data)
        members = subject.recording("forget_eval").margins.numpy()
        others = subject.recording("holdout").margins.numpy()
        attack = subject.recording("forget_attack").margins
        score = margin_score(self.name, members, others, artefact, settings, seed)
        # For RMIA's a alone, which is fitted on the original's attack half.
        spare = Reading(value=float(attack.mean()), examples=tuple(attack.tolist()))
        if data.by_chance:
            halves = [attack, subject.recording("forget_eval").margins]
            score = with_sides(score, sides(data, halves, subject.recording("holdout").margins))
        # Both halves: nothing is trained on either, and a single kept example may lie in any of them.
        items = Items(
            forget=(*members.tolist(), *attack.tolist()),
            holdout=tuple(others.tolist()),
            tops=settings.tops,
            **about(data, "forget_eval", "forget_attack"),
        )
        return score.model_copy(update={"readings": {**score.readings, ATTACK: spare}, "items": items})

    def choose(self, original: Score, references: Sequence[Score]) -> tuple[str, ...]:
        """Choose the difference; the margins of holdout and attack half are carried for the curves."""
        return (MARGIN,)

    def summarise(
        self, scores: Mapping[str, Score], references: Sequence[str]
    ) -> tuple[list[Row], dict[str, dict[str, float]]]:
        """ROC curves (cells) and their AUC and TPR at low FPR (controls) of every model and attack.

        A reference is attacked with the other references as OUT models. RMIA's a is fitted on the original, the
        one model known to have trained on the forget set, with the attack half as its members; it is among the
        original's controls.
        """
        cells: list[Row] = []
        controls: dict[str, dict[str, float]] = {}
        # One a for all: fitted to each model, it would give each its most flattering curve.
        a = _fitted_a(scores["original"], [scores[name] for name in references])
        for name in scores:
            found = _attacks(name, scores, references, a)
            cells += curves(name, found)
            controls[name] = {"RMIA a": a} if name == "original" and a is not None else {}
            controls[name] |= {
                k: v for attack, sides in found.items() for k, v in detection_rates(attack, *sides).items()
            }
        return cells, controls


def with_sides(score: Score, both: Sides) -> Score:
    """The score with margins by subject; the difference between the sides is what T is."""
    margin = score.readings[MARGIN].model_copy(update={"sides": both})
    return score.model_copy(update={"readings": {**score.readings, MARGIN: margin}})


class About(TypedDict, total=False):
    """What single items are about, as fields of :class:`Items`."""

    forget_about: tuple[str, ...]
    holdout_about: tuple[str, ...]
    noun: str


def about(data: AuditData, *halves: str) -> About:
    """What single items are about; nothing where every example stands alone.

    Args:
        data: sets with a holdout.
        halves: of the forget set that were measured, in order.
    """
    if data.forget_eval.groups is None or data.holdout is None:
        return {}
    names = [name for half in halves for name in names_of(data.splits()[half])]
    return {"forget_about": tuple(names), "holdout_about": names_of(data.holdout), "noun": "subjects"}


def blind_baseline(data: AuditData, holdout: Examples, seed: int) -> scorers.Rate | None:
    """AUC of forget against holdout by inputs and labels alone; None where a side has fewer than ten subjects."""
    # One example of each group: its others are like it, and would make the limits narrower than they are.
    sets = {"forget": first_of_each(data.forget), "holdout": first_of_each(holdout), "retain": data.retain}
    return scorers.blind_rate(sets, _table, seed)


def _table(examples: Examples, places: NDArray[np.int64]) -> scorers.Table:
    return _downsampled(examples).numpy()[places].astype(np.float64), examples.labels.numpy()[places]


def _downsampled(examples: Examples) -> Tensor:
    """Flatten inputs to float32 [n, d], images averaged down to at most 8 x 8."""
    parts = [_small(inputs) for inputs, _ in examples.batches(512)]
    return torch.cat(parts).float()


def _small(inputs: Tensor) -> Tensor:
    if inputs.ndim == 4 and max(inputs.shape[2:]) > _BLIND_SIZE:
        height, width = (min(int(side), _BLIND_SIZE) for side in inputs.shape[2:])
        inputs = torch.nn.functional.adaptive_avg_pool2d(inputs, (height, width))
    return inputs.flatten(1)


def _fitted_a(original: Score, references: Sequence[Score]) -> float | None:
    """RMIA's a; None without references, which have to serve as OUT models."""
    if not references:
        return None
    own, *out = [np.asarray(score.readings[ATTACK].examples) for score in (original, *references)]
    holdout, *out_holdout = [margins_of(score)[1] for score in (original, *references)]
    return scorers.fit_rmia_a(own, holdout, np.stack(out), np.stack(out_holdout), _RMIA_GRID, _RMIA_GAMMA)


def _attacks(
    name: str, scores: Mapping[str, Score], references: Sequence[str], a: float | None
) -> dict[str, tuple[Array, Array]]:
    """By attack: scores of members and of non-members, for the model ``name``."""
    members, others = margins_of(scores[name])
    found = {"loss": (scorers.negative_losses(members), scorers.negative_losses(others))}
    # A reference is no OUT model of itself: against its own margin it would never stand out.
    out = [margins_of(scores[reference]) for reference in references if reference != name]
    if not out or a is None:
        return found
    out_members, out_others = np.stack([m for m, _ in out]), np.stack([o for _, o in out])
    # Over both sides at once: of a few references a variance for each example would be mostly noise.
    sigma = scorers.global_sigma(np.concatenate([out_members, out_others], axis=1))
    found["LiRA offline"] = (
        scorers.lira_offline(members, out_members, sigma),
        scorers.lira_offline(others, out_others, sigma),
    )
    found["RMIA offline"] = scorers.rmia_offline(members, others, out_members, out_others, a, _RMIA_GAMMA)
    return found
