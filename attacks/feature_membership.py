"""Membership in the features: were the forget examples trained on, whatever the head now says."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from auditor.attacks.membership import scores as scorers
from auditor.attacks.membership.images import about, blind_baseline, with_sides
from auditor.attacks.membership.readings import MARGIN, MembershipSettings, margin_score, require_holdout
from auditor.checks.check import Check
from auditor.errors import UsageError
from auditor.models.standardise import Scaling, alive_by_own_mean, divisor
from auditor.records.access import Access
from auditor.records.base import Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Items, Score
from auditor.records.source import Source
from auditor.tasks.classification.sets import AuditData
from auditor.tasks.classification.sides import sides
from auditor.tasks.classification.subject import Classifier

_CENTRE_OF_FORGET = (
    "retain lacks a class, whose centre would be made of forget examples, so that these lie nearer to it in any model; "
    "add examples of every class to retain"
)
_ONLY_EVAL = "Of the forget set only the eval half was looked at: the attack half made the centre of a class."


class FeatureMembership(Check[Classifier, AuditData, MembershipSettings, scorers.Rate | None]):
    """Margins as in ``membership``, read from the features by class centres instead of the model's own head.

    At a layer with features z-scored on retain, c_k the mean of class k over retain (over the attack half
    where retain lacks the class), the margin of (x, y) is min_{k≠y} |z(x) − c_k| − |z(x) − c_y|: how much
    nearer x lies to its given label than to any other (nearest class mean, Mensink et al. 2013). T is the
    mean margin of forget eval less that of holdout, at the layer that feeds the head. Subtracting the mean
    over references calibrates each example as in ``membership``.

    A head that was taught to deny the forget examples leaves T as it was; an example whose wrong label is
    memorised lies with its label's class, one that never was trained on lies with its look-alikes.
    """

    name: ClassVar[str] = "feature_membership"
    family: ClassVar[Family] = "representation"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    needs: ClassVar[tuple[str, ...]] = ("forget", "retain", "holdout")
    summary: ClassVar[str] = (
        "Measured how much nearer forget examples lie to their label's centre among the model's features "
        "than examples never trained on do, each against the references on the same examples."
    )
    finds: ClassVar[str] = "For telling forgotten examples from unseen ones, the model's inner features still hold"
    unit: ClassVar[str] = "margin to the nearest other class centre, forget less holdout (z-scored distance)"
    decoys: ClassVar[tuple[str, ...]] = ("head_relabelling", "neg_grad_plus")
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure(
            x="layer",
            y="value",
            categories=True,
            x_label="layer, from input to output",
            y_label="margin, forget less holdout",
            caption="How much nearer forget examples lie to their label’s centre than examples never trained on.",
        ),
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            paper="Mensink et al. 2013", here="nearest class means, from which margins of features are taken", part=True
        ),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "Unlearning was given the examples measured here too; features it moved for them may still bear "
        "traces that class centres do not show.",
    )
    settings_type: ClassVar[type[MembershipSettings]] = MembershipSettings

    def prepare(
        self, original: Classifier, data: AuditData, settings: MembershipSettings, seed: int
    ) -> scorers.Rate | None:
        """Compute the blind baseline of ``membership``."""
        return blind_baseline(data, require_holdout(self.name, data), seed)

    def score(
        self,
        subject: Classifier,
        artefact: scorers.Rate | None,
        data: AuditData,
        settings: MembershipSettings,
        seed: int,
    ) -> Score:
        """Measure one model from its recordings; every layer is shown, the last decides."""
        require_holdout(self.name, data)
        margins = {layer: _margins_at(subject, data, layer) for layer in subject.layers()}
        last = {split: values.numpy() for split, values in margins[subject.layers()[-1]].items()}
        score = margin_score(self.name, last["forget_eval"], last["holdout"], artefact, settings, seed)
        # Where the attack half made a centre, it has no number of its own, and the others' rest on forget examples.
        spare = "forget_attack" not in last
        if data.by_chance and not spare:
            halves = [torch.from_numpy(last[split]) for split in ("forget_attack", "forget_eval")]
            score = with_sides(score, sides(data, halves, torch.from_numpy(last["holdout"])))
        measured = [split for split in ("forget_eval", "forget_attack") if split in last]
        cells: list[Row] = [
            {"layer": layer, "value": float(found["forget_eval"].mean() - found["holdout"].mean())}
            for layer, found in margins.items()
        ]
        items = Items(
            # Both halves: nothing is trained on either, and a single kept example may lie in any of them.
            forget=tuple(value for split in measured for value in last[split]),
            holdout=tuple(last["holdout"]),
            tops=settings.tops,
            note=_ONLY_EVAL if spare else None,
            **about(data, *measured),
        )
        void = _CENTRE_OF_FORGET if data.by_chance and spare else None
        return score.model_copy(update={"rows": cells, "items": items, "not_applicable_because": void})

    def choose(self, original: Score, references: Sequence[Score]) -> tuple[str, ...]:
        """Choose the difference."""
        return (MARGIN,)


def class_centres(features: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Mean of each class, float64 [classes, d]; rows of infinity for classes without examples."""
    sums = torch.zeros(n_classes, features.shape[1], dtype=torch.float64).index_add_(0, labels, features.double())
    counts = torch.bincount(labels, minlength=n_classes)[:, None]
    return torch.where(counts > 0, sums / counts.clamp_min(1), torch.inf)


def centre_margins(features: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
    """min_{k≠y} |x − c_k| − |x − c_y|, float64 [n]; classes whose centre is infinite are no rivals.

    >>> centres = torch.tensor([[0.0], [4.0]], dtype=torch.float64)
    >>> centre_margins(torch.tensor([[1.0], [1.0]]), torch.tensor([0, 1]), centres).tolist()
    [2.0, -2.0]
    """
    known = torch.isfinite(centres).all(1)
    # Infinite coordinates would make distances NaN: the distance to a missing centre is set in the next line.
    distances = torch.cdist(features.double(), torch.where(known[:, None], centres, 0.0))
    distances = torch.where(known, distances, torch.inf)
    own = distances.gather(1, labels[:, None])[:, 0]
    return distances.scatter(1, labels[:, None], torch.inf).amin(1) - own


def _margins_at(subject: Classifier, data: AuditData, layer: str) -> dict[str, Tensor]:
    """Margins of forget eval and holdout at one layer; of the attack half too, unless it made a centre."""
    retain = subject.recording("retain")
    mean, std = retain.features[layer].mean(0), retain.features[layer].std(0)
    # A unit that is constant on retain has no scale of its own there; it is left out.
    alive = alive_by_own_mean(std, mean)
    scaling = Scaling(mean, divisor(std, alive))

    def scaled(features: Tensor) -> Tensor:
        return scaling(features)[:, alive]

    n_classes = retain.logits.shape[1]
    centres = class_centres(scaled(retain.features[layer]), retain.labels, n_classes)
    measured = ["forget_eval", "holdout"]
    if len(data.forget_attack) and torch.isfinite(centres).all():
        measured.append("forget_attack")
    elif len(data.forget_attack):
        # A class that retain lacks can get its centre from no other half: eval is what is measured.
        attack = subject.recording("forget_attack")
        spare = class_centres(scaled(attack.features[layer]), attack.labels, n_classes)
        centres = torch.where(torch.isfinite(centres), centres, spare)
    found = {}
    for split in measured:
        recording = subject.recording(split)
        _require_centres(recording.labels, centres)
        found[split] = centre_margins(scaled(recording.features[layer]), recording.labels, centres)
    return found


def _require_centres(labels: Tensor, centres: Tensor) -> None:
    missing = sorted({int(y) for y in labels if not torch.isfinite(centres[y]).all()})
    known = int(torch.isfinite(centres).all(1).sum())
    if missing or known < 2:
        raise UsageError(
            f"{FeatureMembership.name} needs retain or forget examples of every label it measures, "
            "of two classes at least; there are none of class "
            f"{', '.join(map(str, missing)) or 'beyond one'}; add some to retain"
        )
