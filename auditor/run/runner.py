"""Runs a plan: every check on every model, each score stored as it is finished."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from auditor.checks.check import AnyCheck
from auditor.checks.sets import ExampleSet, Sets
from auditor.checks.subject import Subject
from auditor.errors import UsageError
from auditor.records.events import Begun, Event, Planned, Unit
from auditor.records.plan import Plan, PlannedCheck, PlannedModel
from auditor.records.score import Failure, Score
from auditor.run.decoy_strength import suppressed
from auditor.run.executors.in_process import InProcess
from auditor.run.store import ScoreStore
from auditor.run.units import Executor, Loaded, UnitSpec, contained, unit_of
from auditor.tasks import registry

Scores = dict[str, dict[str, Score | Failure]]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a plan is run on.

    Attributes:
        plan: the plan.
        checks: the planned checks, in the plan's order.
        data: the example sets.
        subject: makes the subject of a planned model; called only when a score has to be computed.
        store: finished scores.
        report: told of every finished unit.
        begin: told of every unit that has to be computed, before it is.
        uncached: models whose scores are neither taken from the store nor put there, since no digest covers what they
            run.
        as_given: makes the subject of a model without its canonical form; None where nothing can be run.
        lost: units that took the process down or too long, each with its reason; what they need is not tried again.
    """

    plan: Plan
    checks: Sequence[AnyCheck]
    data: Sets[ExampleSet]
    subject: Callable[[PlannedModel], Subject]
    store: ScoreStore
    report: Callable[[Event], None]
    begin: Callable[[Begun], None] = lambda unit: None
    uncached: Collection[str] = ()
    as_given: Callable[[PlannedModel], Subject] | None = None
    lost: Mapping[Unit, str] = field(default_factory=dict)

    def loaded(self) -> Loaded:
        """What units are computed from."""
        checks = {check.name: check for check in self.checks}
        return Loaded(plan=self.plan, checks=checks, data=self.data, subject=self.subject)

    def unit(self, model: PlannedModel, planned: PlannedCheck) -> UnitSpec:
        """One check on one model of the plan."""
        return unit_of(self.plan, model, planned, self.data.digest)

    def planned(self, some: Collection[str] | None = None) -> Planned:
        """What is about to be done, on some of the models or on all.

        Args:
            some: names of models.
        """
        models = [model for model in self.plan.models if some is None or model.name in some]
        keys = [self.unit(model, planned).key for model in models for planned in self.plan.checks]
        return Planned(units=len(keys), unlike=self.store.unlike(keys))

    def stored(self, unit: UnitSpec) -> Score | None:
        """Its score from before; None where there is none, or none that counts."""
        return None if unit.model.name in self.uncached else self.store.get(unit.key)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some of a plan's units.

    Attributes:
        models: names of the models to be measured.
        checks: names of the checks to be run on them; None are all.
    """

    models: Collection[str]
    checks: Collection[str] | None = None

    def holds(self, plan: Plan, model: PlannedModel, check: AnyCheck) -> bool:
        """Whether a unit is done: asked for, or the outputs of a model on which what is asked for depends."""
        if model.name in self.models and (self.checks is None or check.name in self.checks):
            return True
        # By these a decoy's strength is judged; and without a working original nothing counts.
        judging = {"original"}
        if any(decoy.name in self.models for decoy in plan.models_of("decoy")):
            judging |= {"reference", "perturbed", "neither"}
        return check.role == "outputs" and (model.name in self.models or model.role in judging)


def run(work: Work, make: Callable[[Loaded], Executor] = InProcess, part: Part | None = None) -> Scores:
    """Every score, by check and model.

    Args:
        work: the plan, and what it is run on.
        make: makes the executor, which computes what is not stored; default one after another, in this process.
        part: of the units; default all.
    """
    executor = make(work.loaded())
    scores: Scores = {check.name: {} for check in work.checks}
    # Model by model: one beside the original is in memory at a time, and all checks share what it recorded.
    for model in work.plan.models:
        loop = _Model(work, executor, model)
        for check, planned in zip(work.checks, work.plan.checks, strict=True):
            if part is not None and not part.holds(work.plan, model, check):
                continue
            measured = scores[check.name]
            hides = check.role == "outputs" and bool(model.strengths)
            measured[model.name] = loop.strengthened(check, planned, measured) if hides else loop.measure(planned)
            if model.role == "original" and check.role == "outputs":
                gate(work.plan, measured[model.name])
    return scores


def gate(plan: Plan, outputs: Score | Failure) -> None:
    """Stop where the original cannot do its job: then nothing an audit says would mean anything.

    Raises:
        UsageError: the original could not be run, or is near chance on retain.
    """
    if isinstance(outputs, Failure):
        raise UsageError(f"the original could not be run on its data: {outputs.reason}")
    accuracy = outputs.retain_accuracy
    assert accuracy is not None, "outputs always measures it"
    refuse_broken(plan, accuracy)


def refuse_broken(plan: Plan, accuracy: float) -> None:
    """Stop where this is no accuracy of a working original.

    Raises:
        UsageError: it is near chance.
    """
    if accuracy >= plan.policy.thresholds.working_accuracy(plan.n_classes):
        return
    raise UsageError(registry.load(plan.task).not_working(accuracy, plan.n_classes))


class _Model:
    """The units of one model, one after another; a decoy's at the strength at which its outputs were suppressed."""

    def __init__(self, work: Work, executor: Executor, model: PlannedModel) -> None:
        self._work, self._executor, self._model = work, executor, model

    def measure(self, planned: PlannedCheck) -> Score | Failure:
        started = time.monotonic()
        result, reused = self._result(planned)
        return self._reported(planned, result, reused, started)

    def strengthened(
        self, check: AnyCheck, planned: PlannedCheck, measured: Mapping[str, Score | Failure]
    ) -> Score | Failure:
        """Outputs of a decoy, made stronger until they are suppressed; later checks meet it at that strength.

        One strength is held in memory at a time. A failure ends the search and is the result.
        """
        started = time.monotonic()
        decoy = self._model
        for number, strength in enumerate(decoy.strengths, 1):
            # It stays there: the later checks of this decoy measure the strength that was taken.
            self._model = decoy.at(strength)
            result, reused = self._result(planned)
            if isinstance(result, Failure):
                break
            hidden = suppressed(check, self._work.plan, measured, result)
            taken = {"strength": float(number), "suppressed": float(hidden)}
            result = result.model_copy(update={"controls": {**result.controls, **taken}})
            if hidden:
                break
        return self._reported(planned, result, reused, started)

    def _result(self, planned: PlannedCheck) -> tuple[Score | Failure, bool]:
        """The result, and whether it was taken from the store."""
        unit = self._work.unit(self._model, planned)
        # Before the losses: a score that was finished counts, whatever became of other units.
        stored = self._work.stored(unit)
        if stored is not None:
            return stored, True
        lost = self._lost(planned.name)
        if lost is not None:
            return lost, False
        # Told before the work: whoever watches learns which unit to give up should this process die.
        self._work.begin(Begun(check=planned.name, model=self._model.name))
        # An executor may be someone else's code: its fault costs a unit, not the audit.
        result = contained(lambda: self._computed(unit), self._model.name)
        # Failures are not kept: the next run tries them again.
        if isinstance(result, Score) and self._model.name not in self._work.uncached:
            self._work.store.put(unit.key, result)
        return result, False

    def _computed(self, unit: UnitSpec) -> Score | Failure:
        result: object = self._executor.run(unit)
        if not isinstance(result, Score | Failure):
            raise UsageError(f"the executor gave a {type(result).__name__}; it has to give a Score or a Failure")
        return result

    def _lost(self, check: str) -> Failure | None:
        """Why a check is not run: one unit that was lost leaves it without evidence, and others may be lost alike."""
        for unit, reason in self._work.lost.items():
            if unit.check == check:
                here = unit.model == self._model.name
                words = f"it {reason}" if here else f"not tried, since on {unit.model} it {reason}"
                return Failure(reason=words, model=self._model.name)
        return None

    def _reported(
        self, planned: PlannedCheck, result: Score | Failure, reused: bool, started: float
    ) -> Score | Failure:
        event = Event(
            model=self._model.name,
            check=planned.name,
            reused=reused,
            failed=isinstance(result, Failure),
            seconds=time.monotonic() - started,
        )
        self._work.report(event)
        return result
