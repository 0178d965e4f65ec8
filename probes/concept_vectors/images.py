"""How far the vectors that carry the forgotten class have moved, and whether they still act.

At each cut point the class has a direction in the original: v = mean z(forget attack half) − mean
z(retain), with z the z-score on the original's retain examples. Another model's activations are carried
into that space by an affine map fitted on retain data alone; there its own direction v' is compared with v,
and both are put to use.

In transformer blocks the class is also sought in the parameters (:mod:`auditor.probes.concept_vectors.value_vectors`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from auditor.checks.check import Check, Workload
from auditor.errors import UsageError
from auditor.inference.auc import auc
from auditor.models.alignment import fit_affine
from auditor.models.standardise import Scaling
from auditor.probes.concept_vectors import figures
from auditor.probes.concept_vectors.value_vectors import ValueVectors, locate_value_vectors, score_values
from auditor.randomness import generator
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.records.source import Source
from auditor.tasks.classification.sets import AuditData, Examples
from auditor.tasks.classification.subject import Classifier


class ConceptVectorsSettings(Frozen):
    """Settings of :class:`ConceptVectors`.

    Attributes:
        n_directions: random directions that the class's own is compared with.
        acting_examples: retain examples to whose activations directions are added.
        strengths: how much of a direction is added, the best counts; 1 is the
            distance from the retain mean to the forget mean.
        n_vectors: value vectors located, over all blocks.
        attribution_examples: retain examples the attribution sees; of the forget attack half it sees all.
        n_random_vectors: sets of other value vectors written back for comparison.
    """

    n_directions: int = 20
    acting_examples: int = 32
    strengths: tuple[float, ...] = (1.0, 4.0, 16.0)
    n_vectors: int = 8
    attribution_examples: int = 256
    n_random_vectors: int = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassDirection:
    """The class at one cut point of the original.

    Attributes:
        retain: the original's retain features, z-scored, float32 [n, d].
        direction: v, float32 [d].
        other: the direction of a retained class, float32 [d].
    """

    retain: Tensor
    direction: Tensor
    other: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class ConceptArtefact:
    """Everything learnt from the original.

    Attributes:
        directions: by cut point.
        values: modules with located value vectors; empty where there are no transformer blocks.
        acting: retain examples to add directions to, int64 indices.
        other_class: the retained class used as control.
    """

    directions: dict[str, ClassDirection]
    values: tuple[ValueVectors, ...]
    acting: Tensor
    other_class: int


def class_direction(inside: Tensor, outside: Tensor) -> Tensor:
    """Difference of means, float32 [d], of features [n, d] and [m, d].

    >>> class_direction(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 3.0]]))
    tensor([ 2., -2.])
    """
    return inside.mean(0) - outside.mean(0)


def projections(features: Tensor, retain: Tensor, direction: Tensor) -> Tensor:
    """How far along the class's direction each example lies: 0 the retain mean, 1 the original's forget mean.

    Args:
        features: [n, d], in the original's z-scored space.
        retain: [m, d], of the same model in the same space.
        direction: v, [d].

    Returns:
        (h_i − mean retain)·v/‖v‖², float64 [n].
    """
    v = direction.double()
    centred = features.double() - retain.double().mean(0)
    return centred @ v / v.square().sum().clamp_min(1e-30)


class ConceptVectors(Check[Classifier, AuditData, ConceptVectorsSettings, ConceptArtefact]):
    """How far forget inputs still lie along the original's class direction where the head reads.

    T(m) = mean over the forget eval half of (h − mean retain)·v/‖v‖² at the last cut point, with h mapped into the
    original's space: 0 at the retain mean, 1 where the original puts the class. Every other number is kept as cell or
    control. T has a wider gap than cosine, relative L2 or AUC along v (docs/checks.md#concept_vectors) and a
    contribution per example. Unlike the distance of parameters it asks what the model computes and not where it was
    trained from: a retrain from the original's own initial weights keeps many parameter vectors and no knowledge.

    It carries no null of its own. Random directions of the same norm are drawn and shown, but a model that never saw
    the class also separates it along v from what it learnt of similar classes, so they are no null for T and without
    references this check is silent.
    """

    name: ClassVar[str] = "concept_vectors"
    family: ClassVar[Family] = "parameters"
    may: ClassVar[May] = "accuse"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    requests: ClassVar[tuple[str, ...]] = ("class",)
    summary: ClassVar[str] = (
        "The direction that carries the forgotten class in the original was sought in each model, through "
        "a map fitted on retain data: how far forget inputs still lie along it, and whether adding it brings "
        "the class back."
    )
    finds: ClassVar[str] = "Along the original's direction for the class, the model's inner features still hold"
    unit: ClassVar[str] = "mean position of forget inputs between the retain mean (0) and the original's class (1)"
    cost: ClassVar[str] = (
        "per model and cut point 70 passes over 32 retain examples; with transformer blocks also 7 passes "
        "of a copy over the forget eval half, and once one forward and backward pass of the original over "
        "the forget attack half and 256 retain examples"
    )
    figures: ClassVar[tuple[Figure, ...]] = figures.IMAGES
    sources: ClassVar[tuple[Source, ...]] = (
        Source(paper="arXiv 2406.11614", here="the same for units of a classifier"),
    )
    caveats: ClassVar[tuple[str, ...]] = (
        "The map is fitted on retain data: what a model does on the forgotten class alone may not carry over.",
        "Without references this check is silent: a model that never saw a class still separates it in part, "
        "so random directions are no null for its score.",
        "Cosines of parameter vectors show a common origin as much as common knowledge; they are drawn, not scored.",
    )
    settings_type: ClassVar[type[Frozen]] = ConceptVectorsSettings

    def prepare(
        self, original: Classifier, data: AuditData, settings: ConceptVectorsSettings, seed: int
    ) -> ConceptArtefact:
        """Find the class's directions and value vectors in the original.

        Raises:
            UsageError: the request is not to forget classes.
        """
        if data.request != "class":
            raise UsageError(
                f"concept_vectors needs classes to forget, and the request is {data.request!r}: "
                "single examples share no direction; leave the check out"
            )
        order = generator(seed, "retain").permutation(len(data.retain))
        # The control class is the largest of those retained.
        other = int(torch.bincount(data.retain.labels, minlength=data.n_classes).argmax())
        attribution = torch.from_numpy(np.sort(order[: settings.attribution_examples]))
        return ConceptArtefact(
            directions={layer: _direction(original, layer, data, other) for layer in original.layers()},
            values=locate_value_vectors(
                original, data.forget_attack, data.retain.take(attribution), settings.n_vectors
            ),
            acting=torch.from_numpy(np.sort(order[: settings.acting_examples])),
            other_class=other,
        )

    def score(
        self,
        subject: Classifier,
        artefact: ConceptArtefact,
        data: AuditData,
        settings: ConceptVectorsSettings,
        seed: int,
    ) -> Score:
        """Measure one model at every cut point and, where there are blocks, in its value vectors."""
        cells: list[Row] = []
        controls: dict[str, float] = {}
        # Overwritten by every layer: T is read at the last one.
        positions = torch.zeros(0)
        for layer, found in artefact.directions.items():
            positions, row, control = _measure(subject, layer, found, settings, seed)
            acting = _acting(subject, layer, found, artefact, data, settings, seed)
            cells.append(row | acting)
            # The last cut point's stand: the score is read there.
            controls = control | {name: value for name, value in acting.items() if isinstance(value, float)}
        value_cells, value_controls = score_values(subject, artefact.values, data, settings.n_random_vectors, seed)
        return Score(
            check=self.name,
            readings={"projection": Reading(value=float(positions.mean()), examples=tuple(positions.tolist()))},
            n_examples=len(data.forget_eval),
            rows=cells + value_cells,
            controls=controls | value_controls,
        )

    def workload(self, data: AuditData, settings: ConceptVectorsSettings, n_layers: int) -> Workload:
        """Directions added at a handful of cut points; writing value vectors back comes on top in transformers."""
        per_layer = 1 + len(settings.strengths) * (settings.n_directions + 3)
        return Workload(forward=n_layers * per_layer * min(settings.acting_examples, len(data.retain)))


def _direction(original: Classifier, layer: str, data: AuditData, other: int) -> ClassDirection:
    retain = original.recording("retain").features[layer]
    # By retain alone: the class must not set the units in which its own distance is measured.
    scaling = Scaling.among_units(retain)
    scaled = scaling(retain)
    # The attack half gives the direction and the eval half is read along it, so it cannot fit what it measures.
    attack = scaling(original.recording("forget_attack").features[layer])
    others = data.retain.labels == other
    return ClassDirection(
        retain=scaled,
        direction=class_direction(attack, scaled),
        other=class_direction(scaled[others], scaled[~others]),
    )


def _measure(
    subject: Classifier, layer: str, found: ClassDirection, settings: ConceptVectorsSettings, seed: int
) -> tuple[Tensor, Row, dict[str, float]]:
    """Positions of the forget eval half along v, and how the model's own direction compares with v."""
    own = subject.recording("retain").features[layer]
    # Units have other names and scales in another model: vectors compare only after a map between the two.
    to_original = fit_affine(own, found.retain)
    retain = to_original(own)
    attack, held = (to_original(subject.recording(s).features[layer]) for s in ("forget_attack", "forget_eval"))
    v, moved = found.direction, class_direction(attack, retain)
    # Held against the model's own retain mean: a shift of everything is no knowledge of the class.
    positions = projections(held, retain, v)
    # The seed is the same for all models, so they differ by their features and not by the draws.
    draws = torch.from_numpy(generator(seed, layer, "auc").standard_normal((settings.n_directions, len(v)))).float()
    along, *random_auc = (auc((held @ w).numpy(), (retain @ w).numpy()) for w in (v, *draws))
    row: Row = {
        "part": "direction",
        "layer": layer,
        "cosine": float(torch.cosine_similarity(v, moved, dim=0)),
        "relative_l2": float((moved - v).norm() / v.norm()),
        "projection": float(positions.mean()),
        "auc": along,
        "map_r2": to_original.r2,
    }
    control = {
        "auc along the class direction": along,
        "auc along random directions, 95 %": float(np.quantile(random_auc, 0.95)),
        "projection on another class": float(projections(held, retain, found.other).mean()),
    }
    return positions, row, control


def _acting(
    subject: Classifier,
    layer: str,
    found: ClassDirection,
    artefact: ConceptArtefact,
    data: AuditData,
    settings: ConceptVectorsSettings,
    seed: int,
) -> Row:
    """Rise of the forgotten classes' probability on retain inputs when a direction is added to them."""
    own = subject.recording("retain").features[layer]
    std = Scaling.among_units(own).std
    mine = class_direction(subject.recording("forget_attack").features[layer], own)
    norm = (mine / std).norm()
    others = data.retain.labels == artefact.other_class
    # Random and control directions are drawn in units of each unit's spread, so that no unit's scale matters.
    drawn = torch.from_numpy(
        generator(seed, layer, "acting").standard_normal((settings.n_directions, len(std)))
    ).float()
    # Without the map's offset: a direction is a difference, in which it cancels.
    carried = fit_affine(found.retain, own).linear(found.direction[None])[0]
    directions = [mine / std, carried / std, class_direction(own[others], own[~others]) / std, *drawn]
    # All at the length of the class's own, so that none acts more by being longer.
    added = [nn.functional.normalize(d, dim=0) * norm * std for d in directions]
    # Retain inputs: on forget inputs the class may be named without any push.
    examples = data.retain.take(artefact.acting)
    # Through the same hook as the rest, which then differs by what is added alone.
    base = _probability(subject, examples, data.classes, layer, torch.zeros_like(std))
    rises = [
        # The best strength of random directions too, or the comparison would favour the class's own.
        max(_probability(subject, examples, data.classes, layer, d * by) for by in settings.strengths) - base
        for d in added
    ]
    return {
        "rise, own direction": rises[0],
        "rise, original's direction": rises[1],
        "rise, another class": rises[2],
        "rise, random directions": float(np.mean(rises[3:])),
        "rise, random directions, 95 %": float(np.quantile(rises[3:], 0.95)),
    }


def _probability(subject: Classifier, examples: Examples, classes: Sequence[int], layer: str, added: Tensor) -> float:
    """Mean probability of the forgotten classes with ``added`` [d] put on every activation at ``layer``."""

    def shift(activation: Tensor) -> Tensor:
        shape = (1, -1, 1, 1) if activation.ndim == 4 else (-1,)
        return activation + added.to(activation).view(shape)

    with subject.intervene(layer, shift):
        probabilities = subject.logits(examples).softmax(1)
    return float(probabilities[:, list(classes)].sum(1).mean())
