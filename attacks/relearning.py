"""Fine-tuning on a handful of forget examples: how fast does the rest come back?"""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.check import Check, Workload
from auditor.data import AuditData, Examples
from auditor.randomness import generator
from auditor.scores import Family, Frozen, May, Reading, Row, Score
from auditor.subjects.base import Subject

_AS_IS, _ROW_RESET = "as is", "row reset"


class Settings(Frozen):
    """One attack: a few forget examples among retain examples, a few steps of Adam."""

    shots: int = Field(default=4, ge=1, description="forget examples per class")
    steps: int = Field(default=16, ge=1, description="of the optimizer")
    measured: tuple[int, ...] = Field(default=(2, 4, 8, 12, 16), description="steps after which it is measured")
    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam; the one the score is taken at")
    other_rates: tuple[float, ...] = Field(default=(3e-4, 3e-3), description="drawn, not counted")
    draws: int = Field(default=2, ge=1, description="sets of shots averaged in the score")
    retain_batch: int = Field(default=32, ge=1, description="retain examples per step")
    forget_share: float = Field(default=0.25, gt=0, lt=1, description="of the loss")
    control_classes: int = Field(default=2, ge=0, description="retained classes whose relearning is drawn")


class Relearning(Check):
    """Attack trained on the attack half, measured on the eval half.

    Each step descends share·CE(shots) + (1 − share)·CE(retain batch). x_i = probability of the true label of
    forget example i, averaged over the measured steps and the draws of shots; T = mean over i, the larger of two
    arms: the model as it is, and with the forgotten classes' head rows set to zero and their biases to the mean of
    the others, which opens a head that was merely shut. Homogeneous units are rescaled to unit retain root mean
    square first, so that models which compute the same function meet the same attack.

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
    unit: ClassVar[str] = "mean probability of the true label on unseen forget examples, over the attack (0 to 1)"
    cost: ClassVar[str] = "some hundred training steps and one short measurement at each measured step"
    decoys: ClassVar[tuple[str, ...]] = ("gradient_ascent",)
    caveats: ClassVar[tuple[str, ...]] = (
        "A head trained to give the forgotten class to others resists this short attack; few_shot sees through it.",
    )
    settings_type: ClassVar[type[Frozen]] = Settings

    def workload(self, data: AuditData, settings: Settings) -> Workload:
        """Steps times batch, and measurements times eval examples."""
        runs = 2 * (settings.draws + len(settings.other_rates)) + settings.control_classes
        shots = settings.shots * max(len(data.classes), 1)
        return Workload(
            training=runs * settings.steps * (settings.retain_batch + shots),
            forward=runs * len(settings.measured) * len(data.forget_eval),
        )

    def score(self, subject: Subject, artefact: Any, data: AuditData, settings: Settings, seed: int) -> Score:
        """Attack clones of one model; the subject itself stays as it is."""
        start = subject.canonical()
        arms = {_AS_IS: start}
        reset = _row_reset(start, data.forget_attack.labels.unique())
        if reset is not None:
            arms[_ROW_RESET] = reset
        curves: dict[str, Tensor] = {}
        cells: list[Row] = []
        for name, arm in arms.items():
            attack = _Attack(arm, data.forget_attack, data.forget_eval, data.retain, settings)
            draws = [attack.run(settings.learning_rate, seed, draw) for draw in range(settings.draws)]
            curves[name] = torch.stack(draws).mean(0)
            cells += _rows(name, settings.learning_rate, settings, curves[name])
            for rate in settings.other_rates:
                cells += _rows(name, rate, settings, attack.run(rate, seed, 0))
        best = max(curves.values(), key=lambda curve: float(curve.mean()))
        cells += _plasticity(start, data, settings, seed)
        examples = best.mean(0)
        return Score(
            check=self.name,
            readings={"better arm": Reading(value=float(examples.mean()), examples=tuple(examples.tolist()))},
            n_examples=len(data.forget_eval),
            cells=cells,
            controls={f"T, {name}": float(curve.mean()) for name, curve in curves.items()},
        )


class _Attack:
    """Relearning of one target set from one starting model."""

    def __init__(
        self, start: Subject, attack: Examples, evaluation: Examples, retain: Examples, settings: Settings
    ) -> None:
        self._start = start
        self._attack = attack
        self._evaluation = evaluation
        self._retain = retain
        self._settings = settings

    def run(self, rate: float, seed: int, draw: int) -> Tensor:
        """Probability of the true label after each measured step, float64 [measured, n_eval]."""
        model = self._start.clone()
        optimizer = torch.optim.Adam(model.module.parameters(), lr=rate)
        curve = []
        for step, (shots, batch) in enumerate(self._batches(seed, draw), start=1):
            self._step(model, optimizer, shots, batch)
            if step in self._settings.measured:
                curve.append(_true_probability(model, self._evaluation))
        return torch.stack(curve)

    def _batches(self, seed: int, draw: int) -> Iterator[tuple[Examples, Examples]]:
        """The same shots at every step, retain examples drawn anew; the same for every model."""
        random = generator(seed, "attack", draw)
        shots = self._attack.take(_few_of_each(self._attack.labels, self._settings.shots, random.permutation))
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
        attack = _Attack(reset, own.take(half), own.take(~half & at_most), data.retain.take(~members), settings)
        curve = attack.run(settings.learning_rate, seed, 0)
        rows += _rows(f"control class {label}", settings.learning_rate, settings, curve)
    return rows


def _rows(arm: str, rate: float, settings: Settings, curve: Tensor) -> list[Row]:
    steps = [step for step in settings.measured if step <= settings.steps]
    return [
        {"arm": arm, "learning_rate": rate, "step": step, "value": float(values.mean())}
        for step, values in zip(steps, curve, strict=True)
    ]
