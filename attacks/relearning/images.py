"""Fine-tuning on a handful of forget examples: how fast does the rest come back?"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field

from auditor.attacks.relearning import figures
from auditor.attacks.relearning.arms import AS_IS, ROW_RESET, reading_name, rescale
from auditor.attacks.relearning.attack_validity import odd_scale, scales, taught, taught_name, withstands
from auditor.attacks.relearning.budget import OUT_OF_DOMAIN, budget_rows, course_rows
from auditor.attacks.relearning.drawn import AttackRange, DrawnAttack, effort_of
from auditor.attacks.relearning.image_attack import Course, Trainer, apart, row_reset
from auditor.attacks.relearning.pooled_images import NOUN, Attacker
from auditor.checks.check import ATTACK_COPIES, Check, Workload
from auditor.models.canonical import CANONICAL_EXAMPLES, CANONICAL_PASSES
from auditor.randomness import generator
from auditor.records.access import Access
from auditor.records.base import Frozen, Row
from auditor.records.evidence import Family, May
from auditor.records.figure import Figure
from auditor.records.score import Reading, Score
from auditor.tasks.classification.sets import AuditData, Examples
from auditor.tasks.classification.sides import held_out
from auditor.tasks.classification.subject import Classifier


class Settings(Frozen):
    """A few attacks: a few forget examples among retain examples, a few steps."""

    drawn: AttackRange = Field(
        # Milder attacks missed the decoy gradient_ascent in half of the digits worlds (docs/checks.md#relearning).
        default=AttackRange(
            steps=(12, 32),
            shots=(3, 8),
            learning_rate=(7e-4, 2e-3),
            forget_share=(0.2, 0.4),
        ),
        description="from which the attacks are drawn by the plan's seed, the same for every model",
    )
    attacks: int = Field(default=3, ge=1, description="drawn, and averaged in the score")
    points: tuple[float, ...] = Field(
        # Denser at first: there knowledge comes back, and of reset rows only the first half of the course counts.
        default=(1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0),
        description="shares of an attack's length at which it is measured",
    )
    retain_batch: int = Field(default=32, ge=1, description="retain examples per step")
    row_reset: bool = Field(
        default=True, description="whether the arm with the forgotten classes' head rows reset is run"
    )
    control_classes: int = Field(default=1, ge=0, description="retained classes whose relearning is drawn")
    out_of_domain: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="length of a run on retain examples alone, which is drawn; in attacks",
    )
    choice_examples: int = Field(
        default=512, ge=1, description="attack examples, never among the shots, that say which arms count, at most"
    )


class Relearning(Check[Classifier, AuditData, Settings, dict[str, float]]):
    """Attack trained on the attack half, measured on the eval half.

    Several attacks, drawn from the plan's seed over a published range: length, learning rate, momentum, shots and share
    of the loss. An unlearner who rehearsed one of them has not rehearsed these. Each
    step descends share·CE(shots) + (1 − share)·CE(retain batch). x_a(m, k, s) = probability of the true label of forget
    examples after step s of attack k, averaged over examples, in two arms a: the model as it is, and with the forgotten
    classes' head rows set to zero and their biases to the mean of the others, which opens a head that was merely shut.
    Homogeneous units are rescaled to unit retain root mean square first, so that models which compute the same function
    meet the same attack.

    The arms see different things: NegGrad+ leaves the head row and comes back as it is, a zeroed row comes back by the
    reset alone. Each is brought to the scale on which references are 0 and the original is 1, and T is the larger:

        T(m) = D · max_a (x̄_a(m) − r̄_a)/Δ_a,  Δ_a = x̄_a(original) − r̄_a,  D = max_a Δ_a,

    x̄_a(m) the mean of x_a(m, k, s) over all attacks k and measured steps s, with the rows reset over the first half of
    the steps, for later they open in every network; r̄_a is that of the references, for a reference of the others
    (:mod:`auditor.attacks.relearning.arms`). An arm whose gap is under 7.5 spreads of the references, on
    attack examples that are never shots, counts only if the other's is no wider. Without two references T is the
    larger arm's mean.

    No step is chosen by how closely the references agree there: knowledge comes back all at once, and just
    before that the references agree by luck, so that the next network which is a few steps faster than all of them
    stands far above (docs/checks.md has the figures).

    A model that learns the attack's own examples otherwise than the references do withstands training (or was trained
    on them): the check is then blind.

    Where chance assigned the holdout, forget and holdout examples are attacked together, as one pool whose halves
    change places (:mod:`auditor.attacks.relearning.pooled_images`), in the arm as is; T is the mean of x over the
    forget examples, each over the attacks that it was no part of.

    Plasticity, the same model's relearning of retained classes after their rows were reset, is drawn beside it and
    not subtracted: between references it varies several times more than the score does, and subtracting it
    would blind the check.
    """

    name: ClassVar[str] = "relearning"
    family: ClassVar[Family] = "tampering"
    may: ClassVar[May] = "clear"
    access: ClassVar[Access] = "training"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    summary: ClassVar[str] = (
        "Fine-tuned a copy of the model on a few forgotten examples and measured how much of the rest of the forget "
        "set came back."
    )
    finds: ClassVar[str] = "Retraining a copy on a few of the forgotten examples brought back"
    unit: ClassVar[str] = (
        "probability of the true label on unseen forget examples in the course of the attacks, above the references' "
        "mean, by the arm that recovers more"
    )
    cost: ClassVar[str] = "some hundred training steps and one short measurement at each measured step"
    decoys: ClassVar[tuple[str, ...]] = ("gradient_ascent",)
    figures: ClassVar[tuple[Figure, ...]] = figures.IMAGES
    caveats: ClassVar[tuple[str, ...]] = (
        "A head trained to give the forgotten class to others resists short attacks; few_shot sees through it.",
    )
    # Five references often agree by luck, and a retrain that takes off a few steps sooner stands far above them
    # (docs/checks.md#relearning has the figures).
    least_spread: ClassVar[float] = 0.05
    settings_type: ClassVar[type[Frozen]] = Settings
    copies: ClassVar[int] = ATTACK_COPIES

    def workload(self, data: AuditData, settings: Settings, n_layers: int) -> Workload:
        """Steps times batch, and measurements times the examples measured; of attacks of the expected length."""
        if data.by_chance:
            return self._pooled_workload(data, settings)
        counted, controls, alone = (
            (1 + settings.row_reset) * settings.attacks,
            settings.control_classes,
            settings.out_of_domain,
        )
        steps, shots = settings.drawn.expected_steps, settings.drawn.expected_shots * max(len(data.classes), 1)
        measured = len(data.forget_eval) * (counted + controls + (alone > 0))
        measured += min(len(data.forget_attack) // 2, settings.choice_examples) * counted
        training = (counted + controls) * (settings.retain_batch + shots) + alone * settings.retain_batch
        forward = len(settings.points) * measured + (counted + controls) * shots
        forward += CANONICAL_PASSES * min(CANONICAL_EXAMPLES, len(data.retain))
        largest = round(settings.retain_batch + shots)
        return Workload(training=round(steps * training), forward=round(forward), step=largest)

    def _pooled_workload(self, data: AuditData, settings: Settings) -> Workload:
        """Of attacks on either half of forget and holdout, and of what is drawn beside them."""
        n = len(data.forget) + len(held_out(data))
        steps, labels = (
            settings.drawn.expected_steps,
            len(torch.cat([data.forget.labels, held_out(data).labels]).unique()),
        )
        shots = min(n / 2, n / len(data.forget) * settings.drawn.expected_shots * labels)
        turns, controls, alone = 2 * _in_turns(settings), settings.control_classes, settings.out_of_domain
        beside = controls * (settings.retain_batch + settings.drawn.expected_shots) + alone * settings.retain_batch
        measured = _in_turns(settings) * n + (controls + (alone > 0)) * len(data.forget_eval)
        forward = len(settings.points) * measured + turns * shots
        forward += CANONICAL_PASSES * min(CANONICAL_EXAMPLES, len(data.retain))
        largest = round(settings.retain_batch + shots)
        return Workload(training=round(steps * (turns * largest + beside)), forward=round(forward), step=largest)

    def prepare(self, original: Classifier, data: AuditData, settings: Settings, seed: int) -> dict[str, float]:
        """The scales of the original's gains, which are not brought to one scale as units are."""
        return scales(original.module, matrices=False)

    def score(
        self, subject: Classifier, artefact: dict[str, float], data: AuditData, settings: Settings, seed: int
    ) -> Score:
        """Attack clones of one model; the subject itself stays as it is."""
        start = subject.canonical()
        if data.by_chance:
            return self._pooled(
                start, odd_scale(scales(subject.module, matrices=False), artefact), data, settings, seed
            )
        pool, aside = apart(data.forget_attack, settings.choice_examples, seed)
        attacks = settings.drawn.draw(settings.attacks, seed)
        readings: dict[str, Reading] = {}
        learned: dict[str, list[float]] = {}
        cells: list[Row] = []
        for number, attack in enumerate(attacks, start=1):
            # Both arms from one canonical form, so that they differ by the head rows alone.
            for arm, begin in _arms(start, data.forget_attack.labels.unique(), settings).items():
                course = _trainer(begin, pool, data.retain, settings, seed).run(
                    attack, number, (data.forget_eval, aside)
                )
                readings |= _readings(arm, number, course)
                learned.setdefault(arm, []).append(course.taught)
                cells += _rows(arm, number, attack, course)
        cells += _drawn_beside(start, attacks[0], data, settings, seed)
        n = len(data.forget_eval)
        return Score(
            check=self.name,
            readings=readings,
            n_examples=n,
            rows=cells,
            controls={taught_name(arm): self.taught(found, n) for arm, found in learned.items()},
            effort=effort_of(attacks, "a class"),
            cannot_clear_because=odd_scale(scales(subject.module, matrices=False), artefact),
        )

    def _pooled(self, start: Classifier, odd: str | None, data: AuditData, settings: Settings, seed: int) -> Score:
        """The score of attacks that train on forget and on holdout examples at once."""
        attacks = settings.drawn.draw(_in_turns(settings), seed)
        attacker = Attacker(
            start=start,
            retain=data.retain,
            retain_batch=settings.retain_batch,
            points=settings.points,
            seed=seed,
        )
        found = attacker.attack(data, attacks)
        x = found.examples
        return Score(
            check=self.name,
            # No rows are reset: those of listed samples serve everything else of their classes.
            readings={AS_IS: Reading(value=float(x.mean()), examples=tuple(x.tolist()), sides=found.sides)},
            n_examples=len(x),
            rows=[*found.rows, *_drawn_beside(start, attacks[0], data, settings, seed)],
            controls=found.controls(),
            effort=effort_of(attacks, "a class"),
            cannot_clear_because=odd or found.resists(),
        )

    def taught(self, probabilities: Sequence[float], n: int) -> float:
        """How well the attacks taught a model their own examples."""
        return taught(probabilities, n)

    def rescale(self, original: Score, references: Sequence[Score]) -> Callable[[Score], Score]:
        """Bring the arms to one scale and take the larger; see the class."""
        if all(reading.sides is not None for reading in original.readings.values()):
            return lambda score: score.model_copy(
                update={"cannot_clear_because": score.cannot_clear_because or withstands(score, original, NOUN)}
            )
        return rescale(original, references)

    def summarise(
        self, scores: Mapping[str, Score], references: Sequence[str]
    ) -> tuple[list[Row], dict[str, dict[str, float]]]:
        """Recovery as a function of the attacker's budget."""
        return budget_rows(scores, references, (AS_IS, ROW_RESET)), {}


def _in_turns(settings: Settings) -> int:
    """Attacks where each is carried out on either half of a pool: half as many, so that no more is trained."""
    return -(-settings.attacks // 2)


def _arms(start: Classifier, classes: torch.Tensor, settings: Settings) -> dict[str, Classifier]:
    reset = row_reset(start, classes) if settings.row_reset else None
    return {AS_IS: start} if reset is None else {AS_IS: start, ROW_RESET: reset}


def _trainer(begin: Classifier, pool: Examples | None, retain: Examples, settings: Settings, seed: int) -> Trainer:
    return Trainer(
        start=begin,
        pool=pool,
        retain=retain,
        retain_batch=settings.retain_batch,
        points=settings.points,
        seed=seed,
    )


def _readings(arm: str, number: int, course: Course) -> dict[str, Reading]:
    """One per measured step."""
    evaluated, aside = course.curves
    return {
        reading_name(arm, number, step): Reading(
            value=float(own.mean()),
            examples=tuple(own.tolist()),
            # None and not 0: where nothing is left to judge arms by, they are not chosen among.
            choice=float(spare.mean()) if len(spare) else None,
        )
        for step, own, spare in zip(course.steps, evaluated, aside, strict=True)
    }


def _rows(arm: str, number: int, attack: DrawnAttack, course: Course, examples: int | None = None) -> list[Row]:
    counted = attack.shots if examples is None else examples
    return course_rows(arm, number, attack, counted, course.steps, course.curves[0])


def _drawn_beside(start: Classifier, attack: DrawnAttack, data: AuditData, settings: Settings, seed: int) -> list[Row]:
    """What is drawn and not counted."""
    rows = _plasticity(start, attack, data, settings, seed)
    if settings.out_of_domain:
        length = max(1, round(settings.out_of_domain * attack.steps))
        alone = attack.model_copy(update={"steps": length, "shots": 0, "forget_share": 0.0})
        course = _trainer(start, None, data.retain, settings, seed).run(alone, 1, (data.forget_eval,))
        rows += _rows(OUT_OF_DOMAIN, 1, alone, course, settings.retain_batch)
    return rows


def _plasticity(start: Classifier, attack: DrawnAttack, data: AuditData, settings: Settings, seed: int) -> list[Row]:
    """How fast this model relearns retained classes whose rows were reset."""
    retained = [int(c) for c in data.retain.labels.unique() if int(c) not in data.classes]
    picks = generator(seed, "control classes").permutation(retained)[: settings.control_classes]
    rows: list[Row] = []
    for label in sorted(int(c) for c in picks):
        members = data.retain.labels == label
        # Halved as the forget set is: trained on one half, measured on the other.
        own = data.retain.take(members)
        half = torch.arange(len(own)) < len(own) // 2
        reset = row_reset(start, torch.tensor([label]))
        if reset is None or not bool(half.any()):
            continue
        # As many as the eval half at most: it is drawn only, and must not cost more than what counts.
        at_most = torch.arange(len(own)) < len(own) // 2 + len(data.forget_eval)
        # The class is kept out of the retain batches, as the forget set is.
        trainer = _trainer(reset, own.take(half), data.retain.take(~members), settings, seed)
        rows += _rows(f"control class {label}", 1, attack, trainer.run(attack, 1, (own.take(~half & at_most),)))
    return rows
