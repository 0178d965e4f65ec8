"""Fine-tuning a model of any kind on a handful of forget examples: how fast does the rest come back?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.attacks.relearning import arms, figures
from auditor.attacks.relearning.arms import AS_IS, reading_name
from auditor.attacks.relearning.attack_validity import odd_scale, scales, taught, taught_name
from auditor.attacks.relearning.budget import budget_rows, course_rows
from auditor.attacks.relearning.custom_attack import CustomCourse, CustomTrainer
from auditor.attacks.relearning.drawn import AttackRange, effort_of
from auditor.attacks.relearning.image_attack import apart
from auditor.checks.check import ATTACK_COPIES, Check, Workload
from auditor.checks.subject import Loss, Scores
from auditor.models.canonical import CANONICAL_EXAMPLES, CANONICAL_PASSES
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.tasks.custom.scale import Scale, halfway
from auditor.tasks.custom.sets import CustomSets
from auditor.tasks.custom.subject import CustomModel

_BEFORE, _ASIDE, _ASIDE_BEFORE = "before", "aside", "aside before"
_OWN, _OWN_BEFORE = "own", "own before"


class Settings(Frozen):
    """A few attacks: a few forget examples among retain examples, a few steps."""

    drawn: AttackRange = Field(
        default=AttackRange(steps=(12, 32), shots=(3, 8), learning_rate=(7e-4, 2e-3), forget_share=(0.2, 0.4)),
        description="from which the attacks are drawn by the plan's seed, the same for every model",
    )
    attacks: int = Field(default=3, ge=1, description="drawn, and averaged in the score")
    points: tuple[float, ...] = Field(
        default=(1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0),
        description="shares of an attack's length at which it is measured",
    )
    retain_batch: int = Field(default=32, ge=1, description="retain examples per step")
    choice_examples: int = Field(
        default=512, ge=1, description="attack examples, never among the shots, that say how wide the gap is, at most"
    )


class Relearning(Check[CustomModel, CustomSets, Settings, dict[str, float]]):
    """Attack trained on the attack half by the user's loss, measured on the eval half by the user's scores.

    Attacks are drawn as for images (:class:`auditor.attacks.relearning.images.Relearning`), and there is one arm, the
    model as it is: what a last layer shuts is for ``few_shot`` to see. Each step descends share·loss(shots) +
    (1 − share)·loss(retain batch). With s_i(m, k, t) the score of forget example i after step t of attack k,

        x_i(m) = mean over k and t of exp(−8(1 − y)),    y = clip((s_i(m, k, t) − r̄_i)/Δ, 0, 1),

    r̄_i and Δ of the scores before any attack: 1 like the original, about 0 like a reference that nobody attacked
    (:mod:`auditor.tasks.custom.scale`). T is the mean over i, brought to the references' mean after the same
    attacks (:mod:`auditor.attacks.relearning.arms`). Homogeneous units are rescaled first, so that models which
    compute the same function meet the same attack; a model that learns the attack's own examples otherwise than
    references do is not cleared. Without two references scores have no scale, and nothing follows from them.
    """

    name: ClassVar[str] = "relearning"
    family: ClassVar[Family] = "tampering"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "training"
    tasks: ClassVar[tuple[str, ...]] = ("custom",)
    asks: ClassVar[tuple[type, ...]] = (Scores, Loss)
    summary: ClassVar[str] = (
        "Fine-tuned a copy of the model on a few forgotten examples and measured how much of the rest of the forget "
        "set came back."
    )
    finds: ClassVar[str] = "Retraining a copy on a few of the forgotten examples brought back"
    unit: ClassVar[str] = "score of unseen forget examples in the course of the attacks, above the references' mean"
    cost: ClassVar[str] = "some hundred training steps and one short measurement at each measured step"
    decoys: ClassVar[tuple[str, ...]] = ("loss_ascent",)
    figures: ClassVar[tuple[Figure, ...]] = figures.CUSTOM
    caveats: ClassVar[tuple[str, ...]] = (
        "A last layer trained to hide the forget set resists short attacks; few_shot sees through it.",
    )
    # As of images: a retrain that takes off a few steps sooner stands far above five references that agree by luck.
    least_spread: ClassVar[float] = 0.05
    settings_type: ClassVar[type[Frozen]] = Settings
    copies: ClassVar[int] = ATTACK_COPIES

    def workload(self, data: CustomSets, settings: Settings, n_layers: int) -> Workload:
        """Steps times batch, and measurements times the examples measured; of attacks of the expected length."""
        n, kinds = settings.attacks, len(data.forget_attack.labels.unique())
        shots = min(settings.drawn.expected_shots * kinds, (len(data.forget_attack) + 1) / 2)
        aside = min(len(data.forget_attack) // 2, settings.choice_examples)
        steps = settings.drawn.expected_steps
        measured = n * (len(data.forget_eval) + aside)
        forward = len(settings.points) * measured + 2 * n * shots + aside
        forward += CANONICAL_PASSES * min(CANONICAL_EXAMPLES, len(data.retain))
        largest = round(settings.retain_batch + shots)
        return Workload(
            training=round(n * steps * (settings.retain_batch + shots)), forward=round(forward), step=largest
        )

    def prepare(self, original: CustomModel, data: CustomSets, settings: Settings, seed: int) -> dict[str, float]:
        """Scales of the original's gains, and of matrices where the task says so: no canonical form sets them."""
        return _scales(original)

    def score(
        self, subject: CustomModel, artefact: dict[str, float], data: CustomSets, settings: Settings, seed: int
    ) -> Score:
        """Attack clones of one model; the subject itself stays as it is."""
        start = subject.canonical()
        pool, aside = apart(data.forget_attack, settings.choice_examples, seed)
        attacks = settings.drawn.draw(settings.attacks, seed)
        readings = {_BEFORE: _reading(subject.scores("forget_eval")), _ASIDE_BEFORE: _reading(start.scores_of(aside))}
        rows: list[Row] = []
        for number, attack in enumerate(attacks, start=1):
            trainer = CustomTrainer(
                start=start,
                pool=pool,
                retain=data.retain,
                retain_batch=settings.retain_batch,
                points=settings.points,
                seed=seed,
            )
            course = trainer.run(attack, number, (data.forget_eval, aside))
            readings |= _readings(number, course)
            rows += course_rows(AS_IS, number, attack, attack.shots, course.steps, course.curves[0])
        return Score(
            check=self.name,
            readings=readings,
            n_examples=len(data.forget_eval),
            rows=rows,
            effort=effort_of(attacks, "a class" if data.forget_attack.labelled else "of forget"),
            cannot_clear_because=odd_scale(_scales(subject), artefact),
        )

    def taught(self, shares: Sequence[float], n: int) -> float:
        """How well the attacks taught a model their own examples."""
        return taught(shares, n)

    def rescale(self, original: Score, references: Sequence[Score]) -> Callable[[Score], Score]:
        """From the user's unit to the common scale, and to the references' mean; see the class."""
        scale = _scale_of(_BEFORE, original, references)
        numbers = {id(score): i for i, score in enumerate(references)}

        def scaled(score: Score) -> Score:
            if scale is None:
                return score.model_copy(update={"readings": dict(_own_readings(score))})
            return self._scaled(score, scale, original, references, numbers.get(id(score)))

        first, others = scaled(original), [scaled(score) for score in references]
        kept = {id(original): first} | {id(score): own for score, own in zip(references, others, strict=True)}
        settle = arms.rescale(first, others)
        # The same objects again, since arms knows references by identity.
        return lambda score: settle(kept[id(score)] if id(score) in kept else scaled(score))

    def _scaled(
        self, score: Score, scale: Scale, original: Score, references: Sequence[Score], number: int | None
    ) -> Score:
        """With every reading between 0 and 1, by how near it comes to the original.

        Args:
            score: of any model.
            scale: of the eval half before any attack.
            original: the original's score.
            references: theirs.
            number: of a reference, which is no part of its own null; None for any other model.
        """

        def shares(name: str, before: str) -> Tensor:
            theirs = np.asarray([other.readings[before].examples for other in references])
            # One Δ for all: a handful of shots, or of examples kept aside, has no median to speak of.
            own = Scale(theirs, scale.delta).of(np.asarray(score.readings[name].examples), but=number)
            return torch.from_numpy(own)

        readings = {}
        for name, _ in _own_readings(score):
            aside = shares(name.replace(AS_IS, _ASIDE, 1), _ASIDE_BEFORE)
            readings[name] = _reading(shares(name, _BEFORE), float(aside.mean()) if len(aside) else None)
        attacks = [name for name in score.readings if name.startswith(f"{_OWN},")]
        learned = [float(shares(name, name.replace(_OWN, _OWN_BEFORE, 1)).mean()) for name in attacks]
        controls = {**score.controls, taught_name(AS_IS): self.taught(learned, score.n_examples)}
        rows = [_row_of(row, readings) for row in score.rows]
        blind = score.cannot_clear_because if number is not None else self._ahead(score, scale, references)
        return score.model_copy(
            update={"readings": readings, "controls": controls, "rows": rows, "cannot_clear_because": blind}
        )

    def _ahead(self, score: Score, scale: Scale, references: Sequence[Score]) -> str | None:
        """What was found about the weights' scale, else that the model is ahead of references, attacked or not."""
        names = [_BEFORE, *(name for name, _ in _own_readings(score))]
        found = (
            halfway(
                scale,
                np.asarray(score.readings[name].examples),
                [np.asarray(other.readings[name].examples) for other in references],
            )
            for name in names
        )
        return score.cannot_clear_because or next((words for words in found if words is not None), None)

    def summarise(
        self, scores: Mapping[str, Score], references: Sequence[str]
    ) -> tuple[list[Row], dict[str, dict[str, float]]]:
        """Recovery as a function of the attacker's budget."""
        return budget_rows(scores, references, (AS_IS,)), {}


def _scales(model: CustomModel) -> dict[str, float]:
    return scales(model.module, matrices=model.matrices_have_a_scale, paired=model.pairs())


def _scale_of(before: str, original: Score, references: Sequence[Score]) -> Scale | None:
    return Scale.between(original.readings[before].examples, [score.readings[before].examples for score in references])


def _own_readings(score: Score) -> Iterator[tuple[str, Reading]]:
    """Those that make up T, of the eval half."""
    return ((name, reading) for name, reading in score.readings.items() if name.startswith(f"{AS_IS},"))


def _reading(values: Tensor, choice: float | None = None) -> Reading:
    return Reading(
        # Of a forget half of one example nothing is left aside.
        value=float(values.mean()) if len(values) else 0.0,
        examples=tuple(values.tolist()),
        choice=choice,
    )


def _readings(number: int, course: CustomCourse) -> dict[str, Reading]:
    """Two per measured step, eval half and examples aside, and the attack's own examples."""
    evaluated, aside = course.curves
    found = {f"{_OWN_BEFORE}, attack {number}": _reading(course.before)}
    found[f"{_OWN}, attack {number}"] = _reading(course.learned)
    for step, own, spare in zip(course.steps, evaluated, aside, strict=True):
        found[reading_name(AS_IS, number, step)] = _reading(own)
        found[reading_name(_ASIDE, number, step)] = _reading(spare)
    return found


def _row_of(row: Row, readings: Mapping[str, Reading]) -> Row:
    """A row of the course with the value that its reading has on the common scale."""
    return {**row, "value": readings[f"{row['arm']}, {row['attack']}, step {row['step']}"].value}
