"""Fine-tuning on a handful of forget examples: how fast does the rest come back?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from auditor.attacks.reach import odd_scale, scales
from auditor.check import Check, Workload
from auditor.data import AuditData, Examples
from auditor.randomness import generator
from auditor.scores import Family, Frozen, May, Reading, Row, Score
from auditor.subjects.base import Subject

Array = NDArray[np.float64]

_AS_IS, _ROW_RESET = "as is", "row reset"
# In spreads of the references. With five of them these resolve residues of .12 and .31; clearing needs .35.
_WIDE_GAP = 20.0
_LEAST_GAP = 7.5


class Settings(Frozen):
    """One attack: a few forget examples among retain examples, a few steps of Adam."""

    shots: int = Field(default=4, ge=1, description="forget examples per class")
    steps: int = Field(default=16, ge=1, description="of the optimizer")
    measured: tuple[int, ...] = Field(
        default=(1, 2, 3, 4, 6, 8, 12, 16), description="steps after which it is measured: the candidates for T"
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam; the one the score is taken at")
    other_rates: tuple[float, ...] = Field(default=(3e-4, 3e-3), description="drawn, not counted")
    draws: int = Field(default=2, ge=1, description="sets of shots averaged in the score")
    retain_batch: int = Field(default=32, ge=1, description="retain examples per step")
    forget_share: float = Field(default=0.25, gt=0, lt=1, description="of the loss")
    control_classes: int = Field(default=2, ge=0, description="retained classes whose relearning is drawn")
    choice_examples: int = Field(
        default=512, ge=1, description="attack examples, never among the shots, that choose the step, at most"
    )


class Relearning(Check):
    """Attack trained on the attack half, measured on the eval half.

    Each step descends share·CE(shots) + (1 − share)·CE(retain batch). x_a(m, s) = probability of the true label of
    forget examples after step s, averaged over the draws of shots and over examples, in two arms a: the model as it
    is, and with the forgotten classes' head rows set to zero and their biases to the mean of the others, which opens a
    head that was merely shut. Homogeneous units are rescaled to unit retain root mean square first, so that models
    which compute the same function meet the same attack.

    The arms see different things: NegGrad+ leaves the head row and comes back as it is, a zeroed row comes back by the
    reset alone. Each is brought to the scale on which references are 0 and the original is 1, and T is the larger:

        T(m) = D · max_a (x̄_a(m) − r̄_a)/Δ_a,  Δ_a = x̄_a(original) − r̄_a,  D = min_a Δ_a,

    x̄_a(m) the mean of x_a(m, s) over the measured steps s ≤ s_a, and r̄_a over the references other than m: one held
    against a mean that it is part of would seem closer to it than a further model can be, and the larger of two arms
    would then accuse twice too often.

    Each arm is followed as long as the references withstand it: s_a is the last measured step after which, on
    attack examples that are never shots, the original stands 20 spreads of the references above them; where no step
    does, the one after which it stands furthest. A spread counts no less than it did at an earlier step, and no less
    than 1/n. An arm whose gap is under 7.5 spreads counts only if the other's is no wider. Original, references and the
    attack half choose; the unlearned model does not.

    The mean, not the reading after step s_a: knowledge comes back all at once, and just before that the references
    agree closely, so that one which happens to be a few steps faster stands far above them. Read after s_a alone, two
    of 36 retrains scored ρ = .48 and .95; the mean over steps 1, 2, 3, 4, 6, 8, … is in effect an area over log time,
    and there a model that is a few steps faster is a little higher. Not all steps, since a small network may learn a
    digit in eight whatever it knew, and the later ones only blur.

    Without two references T is the larger arm's mean over all measured steps.

    Plasticity, the same model's relearning of retained classes after their rows were reset, is drawn beside it and
    not subtracted: between references it varies several times more than the score does, and subtracting it
    would blind the check.
    """

    name: ClassVar[str] = "relearning"
    family: ClassVar[Family] = "tampering"
    may: ClassVar[May] = "clear"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    summary: ClassVar[str] = (
        "Fine-tuned a copy of the model on a few forgotten examples and measured how much of the rest of the forget "
        "set came back."
    )
    unit: ClassVar[str] = (
        "probability of the true label on unseen forget examples in the course of the attack, above the references' "
        "mean, by the arm that recovers more"
    )
    cost: ClassVar[str] = "some hundred training steps and one short measurement at each measured step"
    decoys: ClassVar[tuple[str, ...]] = ("gradient_ascent",)
    caveats: ClassVar[tuple[str, ...]] = (
        "A head trained to give the forgotten class to others resists this short attack; few_shot sees through it.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings

    def workload(self, data: AuditData, settings: Settings) -> Workload:
        """Steps times batch, and measurements times the examples measured."""
        counted, drawn = 2 * settings.draws, 2 * len(settings.other_rates) + settings.control_classes
        shots = settings.shots * max(len(data.classes), 1)
        measured = len(data.forget_eval) * (counted + drawn)
        measured += min(len(data.forget_attack) // 2, settings.choice_examples) * counted
        return Workload(
            training=(counted + drawn) * settings.steps * (settings.retain_batch + shots),
            forward=len(settings.measured) * measured,
        )

    def prepare(self, original: Subject, data: AuditData, settings: Settings, seed: int) -> dict[str, float]:
        """The scales of the original's gains, which are not brought to one scale as units are."""
        return scales(original.module, matrices=False)

    def score(self, subject: Subject, artefact: Any, data: AuditData, settings: Settings, seed: int) -> Score:
        """Attack clones of one model; the subject itself stays as it is."""
        start = subject.canonical()
        arms = {_AS_IS: start}
        reset = _row_reset(start, data.forget_attack.labels.unique())
        if reset is not None:
            arms[_ROW_RESET] = reset
        shots, aside = _apart(data.forget_attack, settings.choice_examples, seed)
        curves: dict[str, _Curves] = {}
        cells: list[Row] = []
        for name, arm in arms.items():
            attack = _Attack(arm, shots, data.retain, settings)
            curves[name] = _Curves.mean(
                [
                    attack.run(settings.learning_rate, seed, draw, (data.forget_eval, aside))
                    for draw in range(settings.draws)
                ]
            )
            cells += _rows(name, settings.learning_rate, settings, curves[name].evaluated)
            for rate in settings.other_rates:
                cells += _rows(name, rate, settings, attack.run(rate, seed, 0, (data.forget_eval,))[0])
        cells += _plasticity(start, data, settings, seed)
        return Score(
            check=self.name,
            readings=_readings(curves, settings),
            n_examples=len(data.forget_eval),
            cells=cells,
            blind=odd_scale(scales(subject.module, matrices=False), artefact),
        )

    def settle(self, original: Score, references: Sequence[Score]) -> Callable[[Score], Score]:
        """Bring the arms to one scale and take the larger; see the class."""
        arms = _counted_arms(original, references)
        return lambda score: _settled(score, arms) if arms else _unscaled(score)


@dataclass(frozen=True, kw_only=True)
class _Curves:
    """Probability of the true label after each measured step, float64.

    Attributes:
        evaluated: [measured, n_eval].
        aside: on the attack examples that are never shots, [measured, n_aside].
    """

    evaluated: Tensor
    aside: Tensor

    @classmethod
    def mean(cls, draws: Sequence[tuple[Tensor, ...]]) -> "_Curves":
        """Mean over draws of (evaluated, aside)."""
        return cls(
            evaluated=torch.stack([evaluated for evaluated, _ in draws]).mean(0),
            aside=torch.stack([aside for _, aside in draws]).mean(0),
        )


def _readings(curves: dict[str, _Curves], settings: Settings) -> dict[str, Reading]:
    """One per arm and measured step."""
    return {
        _reading_name(name, step): Reading(
            value=float(curve.evaluated[j].mean()),
            examples=tuple(curve.evaluated[j].tolist()),
            choice=float(curve.aside[j].mean()) if curve.aside.shape[1] else None,
        )
        for name, curve in curves.items()
        for j, step in enumerate(_measured(settings))
    }


def _reading_name(arm: str, step: int) -> str:
    return f"{arm}, step {step}"


@dataclass(frozen=True, kw_only=True)
class _Arm:
    """One arm up to its chosen step.

    Attributes:
        readings: names of the readings averaged, in order of steps.
        references: their scores.
        delta: Δ, how far the original stands above their mean on the eval half; > 0.
        gap: in spreads of the references, on the attack half.
    """

    readings: tuple[str, ...]
    references: Sequence[Score]
    delta: float
    gap: float

    @property
    def name(self) -> str:
        """The arm and its last step."""
        return self.readings[-1].replace("step", "up to step")

    def of(self, score: Score) -> Array:
        """ρ of one model by this arm alone, per example, float64 [n]; a reference is held against the others."""
        own = np.mean([score.readings[name].examples for name in self.readings], axis=0)
        null = np.mean([_mean_value(other, self.readings) for other in self.references if other is not score])
        return np.asarray((own - null) / self.delta)


def _counted_arms(original: Score, references: Sequence[Score]) -> list[_Arm]:
    """The arms that make up T, widest gap first; none without two references or a gap."""
    if len(references) < 2:
        return []
    found = [_arm(arm, original, references) for arm in (_AS_IS, _ROW_RESET)]
    arms = sorted([arm for arm in found if arm is not None], key=lambda arm: -arm.gap)
    return [arm for i, arm in enumerate(arms) if i == 0 or arm.gap >= _LEAST_GAP]


def _arm(name: str, original: Score, references: Sequence[Score]) -> _Arm | None:
    """One arm up to the step that the attack half chooses; None where the original does not stand above there."""
    readings = [reading for reading in original.readings if reading.startswith(f"{name},")]
    gaps = _gaps(readings, original, references)
    if not gaps:
        return None
    wide = [reading for reading in readings if gaps[reading] >= _WIDE_GAP]
    last = wide[-1] if wide else max(readings, key=lambda reading: gaps[reading])
    counted = tuple(readings[: readings.index(last) + 1])
    delta = _mean_value(original, counted) - float(np.mean([_mean_value(score, counted) for score in references]))
    gap = _gap_of_mean(counted, original, references)
    return _Arm(readings=counted, references=references, delta=delta, gap=gap) if delta > 0 else None


def _mean_value(score: Score, readings: Sequence[str]) -> float:
    return float(np.mean([score.readings[name].value for name in readings]))


def _gap_of_mean(readings: Sequence[str], original: Score, references: Sequence[Score]) -> float:
    """On the attack half, of the mean over readings, in spreads of the references."""
    own, *others = (
        float(np.array([score.readings[name].choice for name in readings], dtype=np.float64).mean())
        for score in (original, *references)
    )
    return (own - float(np.mean(others))) / max(float(np.std(others, ddof=1)), 1 / original.n_examples)


def _gaps(readings: Sequence[str], original: Score, references: Sequence[Score]) -> dict[str, float]:
    """By reading, in order of steps: gap on the attack half in spreads of the references; empty where it has none."""
    table = np.array([[score.readings[name].choice for name in readings] for score in references], dtype=np.float64)
    own = np.array([original.readings[name].choice for name in readings], dtype=np.float64)
    if not readings or np.isnan(own).any() or np.isnan(table).any():
        return {}
    # Spreads grow as the attack goes on; a smaller one later is the luck of few references.
    spread = np.maximum(np.maximum.accumulate(table.std(0, ddof=1)), 1 / original.n_examples)
    return dict(zip(readings, ((own - table.mean(0)) / spread).tolist(), strict=True))


def _settled(score: Score, arms: Sequence[_Arm]) -> Score:
    found = {arm.name: arm.of(score) for arm in arms}
    best = max(found.values(), key=lambda examples: float(examples.mean())) * min(arm.delta for arm in arms)
    name = " and ".join(sorted(found))
    reading = Reading(value=float(best.mean()), examples=tuple(best.tolist()))
    controls = {f"ρ by {name} alone": float(examples.mean()) for name, examples in found.items()}
    return score.model_copy(update={"readings": {name: reading}, "controls": {**score.controls, **controls}})


def _unscaled(score: Score) -> Score:
    """Without references: the larger arm's mean over all measured steps."""
    rows = [[r for name, r in score.readings.items() if name.startswith(f"{arm},")] for arm in (_AS_IS, _ROW_RESET)]
    curves = [np.mean([reading.examples for reading in arm], axis=0) for arm in rows if arm]
    best = max(curves, key=lambda examples: float(examples.mean()))
    reading = Reading(value=float(best.mean()), examples=tuple(best.tolist()))
    return score.model_copy(update={"readings": {"larger arm, all steps": reading}})


class _Attack:
    """Relearning of one target set from one starting model."""

    def __init__(self, start: Subject, shots: Examples, retain: Examples, settings: Settings) -> None:
        self._start = start
        self._shots = shots
        self._retain = retain
        self._settings = settings

    def run(self, rate: float, seed: int, draw: int, measured: tuple[Examples, ...]) -> tuple[Tensor, ...]:
        """Probability of the true label after each measured step, float64 [measured steps, n] per set."""
        model = self._start.clone()
        optimizer = torch.optim.Adam(model.module.parameters(), lr=rate)
        curves: list[list[Tensor]] = [[] for _ in measured]
        for step, (shots, batch) in enumerate(self._batches(seed, draw), start=1):
            self._step(model, optimizer, shots, batch)
            if step in self._settings.measured:
                for curve, examples in zip(curves, measured, strict=True):
                    curve.append(_true_probability(model, examples))
        return tuple(torch.stack(curve) for curve in curves)

    def _batches(self, seed: int, draw: int) -> Iterator[tuple[Examples, Examples]]:
        """The same shots at every step, retain examples drawn anew; the same for every model."""
        random = generator(seed, "attack", draw)
        shots = self._shots.take(_few_of_each(self._shots.labels, self._settings.shots, random.permutation))
        for _ in range(self._settings.steps):
            picks = random.integers(len(self._retain), size=self._settings.retain_batch)
            yield shots, self._retain.take(torch.from_numpy(picks))

    def _step(self, model: Subject, optimizer: torch.optim.Optimizer, shots: Examples, batch: Examples) -> None:
        labels = torch.cat([shots.labels, batch.labels])
        inputs = torch.cat([shots.inputs, batch.inputs])
        device = next(model.module.parameters()).device
        logits = model.forward(inputs.to(device)).float()
        losses = nn.functional.cross_entropy(logits, labels.to(device), reduction="none")
        share = self._settings.forget_share
        optimizer.zero_grad()
        (share * losses[: len(shots)].mean() + (1 - share) * losses[len(shots) :].mean()).backward()
        optimizer.step()


def _apart(attack: Examples, at_most: int, seed: int) -> tuple[Examples, Examples]:
    """(examples that shots are drawn from, examples by which the step is chosen): disjoint halves of each label."""
    random = generator(seed, "aside")
    shots, aside = [], []
    for label in attack.labels.unique():
        members = torch.nonzero(attack.labels == label)[:, 0]
        members = members[torch.from_numpy(random.permutation(len(members)))]
        half = (len(members) + 1) // 2
        shots.append(members[:half])
        aside.append(members[half:])
    spare = torch.cat(aside)
    picks = torch.from_numpy(random.permutation(len(spare))[:at_most])
    return attack.take(torch.cat(shots).sort().values), attack.take(spare[picks].sort().values)


def _few_of_each(labels: Tensor, n: int, permutation: Any) -> Tensor:
    """Indices of up to n examples of each label."""
    picks = []
    for label in labels.unique():
        members = torch.nonzero(labels == label)[:, 0]
        picks.append(members[torch.from_numpy(permutation(len(members))[:n])])
    return torch.cat(picks)


def _true_probability(model: Subject, examples: Examples) -> Tensor:
    return model.logits(examples).double().softmax(1).gather(1, examples.labels[:, None])[:, 0]


def _row_reset(start: Subject, classes: Tensor) -> Subject | None:
    """A clone whose head no longer holds anything for or against the classes; None without a linear head."""
    clone = start.clone()
    head = clone.head()
    if head is None:
        return None
    others = torch.ones(head.out_features, dtype=torch.bool)
    others[classes] = False
    if not bool(others.any()):
        return None
    with torch.no_grad():
        head.weight[classes] = 0
        if head.bias is not None:
            head.bias[classes] = head.bias[others].mean()
    return clone


def _plasticity(start: Subject, data: AuditData, settings: Settings, seed: int) -> list[Row]:
    """How fast this model relearns retained classes whose rows were reset: drawn, not counted."""
    retained = [int(c) for c in data.retain.labels.unique() if int(c) not in data.classes]
    picks = generator(seed, "control classes").permutation(retained)[: settings.control_classes]
    rows: list[Row] = []
    for label in sorted(int(c) for c in picks):
        members = data.retain.labels == label
        own = data.retain.take(members)
        half = torch.arange(len(own)) < len(own) // 2
        reset = _row_reset(start, torch.tensor([label]))
        if reset is None or not bool(half.any()):
            continue
        at_most = torch.arange(len(own)) < len(own) // 2 + len(data.forget_eval)
        attack = _Attack(reset, own.take(half), data.retain.take(~members), settings)
        (curve,) = attack.run(settings.learning_rate, seed, 0, (own.take(~half & at_most),))
        rows += _rows(f"control class {label}", settings.learning_rate, settings, curve)
    return rows


def _rows(arm: str, rate: float, settings: Settings, curve: Tensor) -> list[Row]:
    return [
        {"arm": arm, "learning_rate": rate, "step": step, "value": float(values.mean())}
        for step, values in zip(_measured(settings), curve, strict=True)
    ]


def _measured(settings: Settings) -> list[int]:
    return [step for step in sorted(settings.measured) if step <= settings.steps]
