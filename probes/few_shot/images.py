"""How little an adversary needs to find the forget set in the features."""

from typing import ClassVar

import torch
from torch import Tensor

from auditor.checks.check import Check
from auditor.errors import UsageError
from auditor.probes.few_shot import figures
from auditor.probes.few_shot.one_shot import Settings as Settings  # by this name tests and the zoo know it
from auditor.probes.few_shot.one_shot import ZScored, by_class, figure_rows, halves, one_shot
from auditor.probes.few_shot.one_shot import log_rank as log_rank
from auditor.randomness import generator
from auditor.records.access import Access
from auditor.records.base import Frozen
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Score
from auditor.tasks.classification.sets import AuditData
from auditor.tasks.classification.subject import Classifier

_MADE_OF_FORGET = (
    "its probes are forget examples alone, and they look for whole classes among retained examples, not for listed ones"
)


class FewShot(Check[Classifier, AuditData, Settings, None]):
    """One-shot nearest-centre probes on every vector layer, scored by log-rank.

    Features are z-scored by the standard deviation of retain and attack examples, so that the scale of a unit
    does not matter. A probe is one attack example z; its score of x is z·x. For a forget example i of the eval
    half and of the probe's class, with r_i of N held-aside retain examples scored above it (ties half),

        x_i = −log((1 + r_i)/(N + 1)) / log(N + 1), in [0, 1],

    averaged over draws and layers; T is the mean over i. 1 where every forget example outranks all of retain.
    The log keeps apart what an AUC saturates on: with four or more shots any network's features rank a new class
    above most others, so power lies in very few shots and in the top of the ranking.

    The layers are averaged and not chosen by their gap: that picks the last ones, where the gap is widest and where
    suppression by training hides best (docs/checks.md#few_shot).

    Where control concepts are given, T is measured for each of them in the same way; with goal ``concept`` they are
    the null.
    """

    name: ClassVar[str] = "few_shot"
    family: ClassVar[Family] = "representation"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "weights"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    summary: ClassVar[str] = (
        "Gave a probe a single example of what was to be forgotten and looked how far up it then ranks the others "
        "among the retained ones, by the model's internal features."
    )
    finds: ClassVar[str] = "Given one forgotten example, a simple probe of the model's inner features found"
    unit: ClassVar[str] = "log-rank of forget among retain examples (0 to 1)"
    # Both edit the head alone: a probe of the features has to find the class behind either.
    decoys: ClassVar[tuple[str, ...]] = ("head_row_zeroed", "head_relabelling")
    figures: ClassVar[tuple[Figure, ...]] = figures.IMAGES
    caveats: ClassVar[tuple[str, ...]] = (
        "Reads layers that hold one vector per example; knowledge kept in feature maps alone is looked for by others.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings

    def score(self, subject: Classifier, artefact: None, data: AuditData, settings: Settings, seed: int) -> Score:
        """Measure one model from its recordings.

        Raises:
            UsageError: the network has no layer with one vector per example, or no class has two examples.
        """
        layers = subject.vector_layers()
        if not layers:
            raise UsageError("few_shot needs a layer with one vector per example, and the network has none")
        background, aside = halves(len(data.retain), settings.held_aside, seed)
        concepts = _control_halves(data, seed)
        groups = by_class(data)
        readings, cells = {}, []
        for layer in layers:
            features = _features(subject, layer, background, aside)
            reading = one_shot(features, groups, settings, seed)
            controls = _control_totals(subject, layer, concepts, (background, aside), settings, seed)
            readings[layer] = reading.model_copy(update={"concepts": controls})
            cells += figure_rows(features, groups, layer, settings, seed)
        return Score(
            check=self.name,
            readings=readings,
            n_examples=sum(len(e) for _, e in groups),
            rows=cells,
            not_applicable_because=_MADE_OF_FORGET if data.by_chance else None,
        )


def _features(subject: Classifier, layer: str, background: Tensor, aside: Tensor) -> ZScored:
    """From the subject's recordings, with retain in two parts by index."""
    retain = subject.recording("retain").features[layer].double()
    return ZScored(
        subject.recording("forget_attack").features[layer].double(),
        subject.recording("forget_eval").features[layer].double(),
        retain[background],
        retain[aside],
    )


def _of_control(
    subject: Classifier, layer: str, parts: tuple[Tensor, Tensor], background: Tensor, aside: Tensor
) -> ZScored:
    """The same with one control concept, its examples in two halves by index, in place of forget."""
    retain = subject.recording("retain").features[layer].double()
    control = subject.recording("control").features[layer].double()
    return ZScored(control[parts[0]], control[parts[1]], retain[background], retain[aside])


def _control_halves(data: AuditData, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Attack and eval halves of each control concept, as indices into the control set."""
    found = []
    for concept in data.control_concepts:
        assert data.control is not None, "it has concepts"
        members = torch.nonzero(data.control.labels == concept)[:, 0]
        order = members[torch.from_numpy(generator(seed, "control", concept).permutation(len(members)))]
        found.append((order[: len(order) // 2].sort().values, order[len(order) // 2 :].sort().values))
    return found


def _control_totals(
    subject: Classifier,
    layer: str,
    concepts: list[tuple[Tensor, Tensor]],
    retain: tuple[Tensor, Tensor],
    settings: Settings,
    seed: int,
) -> tuple[float, ...]:
    """T of each control concept at one layer, measured as the forgotten class is."""
    totals = []
    for parts in concepts:
        features = _of_control(subject, layer, parts, *retain)
        # A concept is a single class, halved as the forget set is.
        groups = [(torch.arange(len(parts[0])), torch.arange(len(parts[1])))]
        totals.append(one_shot(features, groups, settings, seed).value)
    return tuple(totals)
