"""How little an adversary needs to find the forget set in the features."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from auditor.checks.check import Check
from auditor.errors import UsageError
from auditor.inference.auc import auc, placements
from auditor.models.standardise import alive_at_all, factor
from auditor.probes.few_shot import figures
from auditor.randomness import generator
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.tasks.classification.sets import AuditData
from auditor.tasks.classification.subject import Classifier

_MADE_OF_FORGET = (
    "its probes are forget examples alone, and they look for whole classes among retained examples, not for listed ones"
)
Scorer = Callable[[Tensor, Tensor], Tensor]


class Settings(Frozen):
    """Draws and sizes."""

    # 16, 32 and 128 draws gave the same gaps (benchmarks/README.md): references differ, draws do not.
    draws: int = Field(default=32, ge=1, description="one-shot probes averaged in the score")
    shots: tuple[int, ...] = Field(default=(1, 2, 4, 8, 16), description="examples per probe, for the figure")
    figure_draws: int = Field(default=8, ge=1, description="probes averaged at each point of the figure")
    held_aside: int = Field(default=2000, ge=10, description="retain examples ranked against, at most")
    ridge: float = Field(default=10.0, gt=0, description="of the linear probe, on z-scored features")


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
        background, aside = _halves(len(data.retain), settings.held_aside, seed)
        concepts = _control_halves(data, seed)
        groups = _by_class(data)
        readings, cells = {}, []
        for layer in layers:
            features = _Features.of(subject, layer, background, aside)
            reading = _one_shot(features, groups, settings, seed)
            controls = _control_totals(subject, layer, concepts, (background, aside), settings, seed)
            readings[layer] = reading.model_copy(update={"concepts": controls})
            cells += _figure(features, groups, layer, settings, seed)
        return Score(
            check=self.name,
            readings=readings,
            n_examples=sum(len(e) for _, e in groups),
            rows=cells,
            not_applicable_because=_MADE_OF_FORGET if data.by_chance else None,
        )


class _Features:
    """Z-scored features of one layer, float64.

    Attributes:
        attack: [n_attack, d].
        eval: [n_eval, d].
        background: retain examples a linear probe may see, [n, d].
        aside: retain examples ranked against, [N, d].
    """

    def __init__(self, attack: Tensor, evaluation: Tensor, background: Tensor, aside: Tensor) -> None:
        # Attack examples too: a unit silent on retain may speak on forget, and would have no scale otherwise.
        scale = torch.cat([background, attack]).std(0)
        # A unit that never moves says nothing.
        weight = factor(scale, alive_at_all(scale))
        # Retain's mean is the origin: what sets the example apart from retain is then its direction.
        mean = background.mean(0)
        self.attack, self.eval = (attack - mean) * weight, (evaluation - mean) * weight
        self.background, self.aside = (background - mean) * weight, (aside - mean) * weight

    @classmethod
    def of(cls, subject: Classifier, layer: str, background: Tensor, aside: Tensor) -> "_Features":
        """From the subject's recordings, with retain in two parts by index."""
        retain = subject.recording("retain").features[layer].double()
        return cls(
            subject.recording("forget_attack").features[layer].double(),
            subject.recording("forget_eval").features[layer].double(),
            retain[background],
            retain[aside],
        )

    @classmethod
    def of_control(
        cls, subject: Classifier, layer: str, halves: tuple[Tensor, Tensor], background: Tensor, aside: Tensor
    ) -> "_Features":
        """The same with one control concept, its examples in two halves by index, in place of forget."""
        retain = subject.recording("retain").features[layer].double()
        control = subject.recording("control").features[layer].double()
        return cls(control[halves[0]], control[halves[1]], retain[background], retain[aside])


def log_rank(forget: NDArray[np.float64], retain: NDArray[np.float64]) -> NDArray[np.float64]:
    """x_i of the class docstring.

    Args:
        forget: scores of forget examples, [n].
        retain: scores of held-aside retain examples, [N].

    >>> log_rank(np.array([9.0]), np.array([1.0, 2.0, 3.0])).tolist()
    [1.0]
    """
    n = retain.shape[0]
    # log(1/(N+1)) at the top, log(1) = 0 at the bottom; + 0.0 turns −0 into 0.
    ranks: NDArray[np.float64] = -np.log((1 + n - placements(forget, retain)) / (n + 1)) / np.log(n + 1) + 0.0
    return ranks


def _halves(n: int, at_most: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of retain examples for standardisation and of those ranked against, disjoint."""
    # Disjoint: the retain examples ranked have to be as new to the scaling as the eval half is.
    order = torch.from_numpy(generator(seed, "retain").permutation(n))
    return order[: n // 2].sort().values, order[n // 2 :][:at_most].sort().values


def _by_class(data: AuditData) -> list[tuple[Tensor, Tensor]]:
    """Indices into the attack and eval halves of each class that both hold.

    Raises:
        UsageError: there is none.
    """
    attack, evaluation = data.forget_attack.labels, data.forget_eval.labels
    groups = [
        # Class by class: an example of one class says nothing of where another lies.
        (torch.nonzero(attack == label)[:, 0], torch.nonzero(evaluation == label)[:, 0])
        for label in evaluation.unique()
        if bool((attack == label).any())
    ]
    if not groups:
        raise UsageError("few_shot needs a class with two forget examples or more, and the forget set has none")
    return groups


def _one_shot(features: _Features, groups: list[tuple[Tensor, Tensor]], settings: Settings, seed: int) -> Reading:
    # The same shots at every layer and in every model: their luck is common to all and cancels in ρ.
    random = generator(seed, "one shot")
    found = []
    for attack, evaluation in groups:
        shots = attack[torch.from_numpy(random.permutation(len(attack)))[: settings.draws]]
        directions = features.attack[shots].T
        forget, retain = (features.eval[evaluation] @ directions).numpy(), (features.aside @ directions).numpy()
        columns = [log_rank(forget[:, k], retain[:, k]) for k in range(forget.shape[1])]
        found.append(np.mean(columns, axis=0))
    examples = np.concatenate(found)
    return Reading(value=float(examples.mean()), examples=tuple(examples.tolist()))


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
    for halves in concepts:
        features = _Features.of_control(subject, layer, halves, *retain)
        # A concept is a single class, halved as the forget set is.
        groups = [(torch.arange(len(halves[0])), torch.arange(len(halves[1])))]
        totals.append(_one_shot(features, groups, settings, seed).value)
    return tuple(totals)


def _figure(
    features: _Features, groups: list[tuple[Tensor, Tensor]], layer: str, settings: Settings, seed: int
) -> list[Row]:
    """AUC against shots of each probe, on the class with the most attack examples."""
    attack, evaluation = max(groups, key=lambda group: len(group[0]))
    probes = {"centre": _centre, "linear": _linear(features.background, settings.ridge), "k-NN": _nearest}
    rows: list[Row] = []
    for n in settings.shots:
        if n > len(attack):
            break
        draws = generator(seed, "figure", n)
        # Drawn before the loop over probes, so that all of them are given the same examples.
        picks = [attack[torch.from_numpy(draws.permutation(len(attack))[:n])] for _ in range(settings.figure_draws)]
        for name, probe in probes.items():
            values = [
                auc(
                    probe(features.eval[evaluation], features.attack[pick]).numpy(),
                    probe(features.aside, features.attack[pick]).numpy(),
                )
                for pick in picks
            ]
            rows.append({"layer": layer, "probe": name, "shots": n, "value": float(np.mean(values))})
    return rows


def _centre(x: Tensor, shots: Tensor) -> Tensor:
    return x @ shots.mean(0)


def _nearest(x: Tensor, shots: Tensor) -> Tensor:
    return -torch.cdist(x, shots).min(1).values


def _linear(background: Tensor, ridge: float) -> Scorer:
    """Fisher's discriminant with the covariance of retain examples, shrunk by a ridge."""
    covariance = background.T @ background / background.shape[0]
    # Inverted once: every draw of every shot count asks for it.
    inverse = torch.linalg.inv(covariance + ridge * torch.eye(covariance.shape[0], dtype=covariance.dtype))
    return lambda x, shots: x @ (inverse @ shots.mean(0))
