"""Runs a plan: every check on every model, each score stored as it is finished."""

import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auditor.checks.check import Check
from auditor.data import AuditData
from auditor.decoys.strength import suppressed
from auditor.digests import digest_of
from auditor.errors import AuditError, UsageError
from auditor.facts import FactsData
from auditor.records.base import Frozen
from auditor.records.events import Begun, Event, Unit
from auditor.records.plan import Plan, PlannedCheck, PlannedModel
from auditor.records.score import Failure, Score
from auditor.run.memory import batch_sizes, out_of_memory
from auditor.run.store import ScoreStore
from auditor.subjects.base import Subject
from auditor.subjects.canonical_form import REVISION

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
        anew: models whose scores are neither taken from the store nor put there, since no digest covers what they run.
        lost: units that took the process down or too long, each with its reason; what they need is not tried again.
    """

    plan: Plan
    checks: Sequence[Check]
    data: AuditData | FactsData
    subject: Callable[[PlannedModel], Subject]
    store: ScoreStore
    report: Callable[[Event], None]
    begin: Callable[[Begun], None] = lambda unit: None
    anew: Collection[str] = ()
    lost: Mapping[Unit, str] = field(default_factory=dict)


def run(work: Work) -> Scores:
    """Every score, by check and model. A crash of one check on one model is a Failure, not the end."""
    scores: Scores = {check.name: {} for check in work.checks}
    bench = _Bench(work)
    for model in work.plan.models:
        bench.next_model(model)
        for check, planned in zip(work.checks, work.plan.checks, strict=True):
            measured = scores[check.name]
            hides = check.name == "outputs" and bool(model.strengths)
            measured[model.name] = (
                bench.strengthened(check, planned, measured) if hides else bench.measure(check, planned)
            )
            if model.role == "original" and check.name == "outputs":
                gate(work.plan, scores[check.name][model.name])
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
    if plan.task == "causal-lm":
        raise UsageError(
            f"the original's first choice is right for only {100 * accuracy:.1f} % of the retain answers' tokens; "
            "check the tokenizer, data.template and whether the model was trained on these facts"
        )
    raise UsageError(
        f"the original classifies only {100 * accuracy:.1f} % of the retain set rightly (chance is "
        f"{100 / plan.n_classes:.1f} %); check preprocessing, class order and architecture"
    )


class _Bench:
    """Holds the model being measured and what checks learned from the original, each made when first needed."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._original: Subject | None = None
        self._artefacts: dict[str, Any] = {}
        self._model = work.plan.models[0]
        self._subject: Subject | None = None

    def next_model(self, model: PlannedModel) -> None:
        """Let go of the model before; only the original stays."""
        self._model, self._subject = model, None

    def measure(self, check: Check, planned: PlannedCheck) -> Score | Failure:
        result, reused = self._result(check, planned)
        return self._reported(check, result, reused)

    def strengthened(
        self, check: Check, planned: PlannedCheck, measured: Mapping[str, Score | Failure]
    ) -> Score | Failure:
        """Outputs of a decoy, made stronger until they are suppressed; later checks meet it at that strength.

        One strength is held in memory at a time. A failure ends the search and is the result.
        """
        decoy = self._model
        for number, strength in enumerate(decoy.strengths, 1):
            self.next_model(decoy.at(strength))
            result, reused = self._result(check, planned)
            if isinstance(result, Failure):
                break
            hidden = suppressed(check, self._work.plan, measured, result)
            taken = {"strength": float(number), "suppressed": float(hidden)}
            result = result.model_copy(update={"controls": {**result.controls, **taken}})
            if hidden:
                break
        return self._reported(check, result, reused)

    def _result(self, check: Check, planned: PlannedCheck) -> tuple[Score | Failure, bool]:
        """The result, and whether it was taken from the store."""
        key = score_key(self._work.plan, self._model, planned, self._work.data.digest)
        keeps = self._model.name not in self._work.anew
        stored = self._work.store.get(key) if keeps else None
        result = stored if stored is not None else self._given_up(check) or self._contained(check, planned)
        if keeps and stored is None and isinstance(result, Score):
            self._work.store.put(key, result)
        return result, stored is not None

    def _reported(self, check: Check, result: Score | Failure, reused: bool) -> Score | Failure:
        failed = isinstance(result, Failure)
        self._work.report(Event(model=self._model.name, check=check.name, reused=reused, failed=failed))
        return result

    def _given_up(self, check: Check) -> Failure | None:
        """Why a check is not run: one unit that was lost leaves it without evidence, and others may be lost alike."""
        for unit, reason in self._work.lost.items():
            if unit.check == check.name:
                here = unit.model == self._model.name
                words = f"it {reason}" if here else f"not tried, since on {unit.model} it {reason}"
                return Failure(reason=words, model=self._model.name)
        return None

    def _contained(self, check: Check, planned: PlannedCheck) -> Score | Failure:
        self._work.begin(Begun(check=check.name, model=self._model.name))
        try:
            return self._in_memory(check, planned)
        except Exception as error:  # noqa: BLE001 - a check's crash is data
            return failure_of(error, self._model.name)

    def _in_memory(self, check: Check, planned: PlannedCheck) -> Score:
        """The score as planned or, where memory runs out, from smaller batches, which it then says.

        Raises:
            UsageError: memory ran out with the smallest batch, too.
        """
        wanted, *smaller = batch_sizes(self._work.plan.execution.batch_size)
        for size in [wanted, *smaller] if self._work.plan.layers else [wanted]:
            try:
                score = self._score(check, planned, size)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                continue
            words = f"in batches of {size} instead of {wanted}, since memory ran out"
            return score if size == wanted else score.model_copy(update={"deviation": words})
        tried = f", also in batches of {size} instead of {wanted}" if size != wanted else ""
        raise UsageError(f"memory ran out{tried}; give the machine more, or audit.batch_size a smaller value")

    def _score(self, check: Check, planned: PlannedCheck, batch_size: int) -> Score:
        settings = check.settings_type.model_validate(planned.settings)
        if check.name not in self._artefacts:
            original = _in_batches(self.original, batch_size)
            self._artefacts[check.name] = check.prepare(original, self._work.data, settings, planned.seed)
        subject = _in_batches(self.subject, batch_size)
        form = subject.unguarded() if check.opens else subject
        return check.score(form, self._artefacts[check.name], self._work.data, settings, planned.seed)

    @property
    def original(self) -> Subject:
        if self._original is None:
            self._original = self._work.subject(self._work.plan.models_of("original")[0])
        return self._original

    @property
    def subject(self) -> Subject:
        if self._subject is None:
            is_original = self._model.role == "original"
            self._subject = self.original if is_original else self._work.subject(self._model)
        return self._subject


def _in_batches(subject: Subject, size: int) -> Subject:
    for form in (subject, subject.unguarded()):
        form.batch_size = size
    return subject


class _Key(Frozen):
    """Everything a score depends on."""

    auditor_version: str
    check: str
    provider: str
    settings: dict[str, Any]
    seed: int
    model: str
    original: str
    form: int
    data: str
    architecture: str | None
    layers: tuple[str, ...]
    execution: dict[str, Any]


def score_key(plan: Plan, model: PlannedModel, planned: PlannedCheck, data_digest: str) -> str:
    """The digest under which a score is stored; editing anything it depends on makes another."""
    key = _Key(
        auditor_version=plan.auditor_version,
        check=planned.name,
        provider=planned.provider,
        settings=planned.settings,
        seed=planned.seed,
        model=model.digest,
        original=plan.models_of("original")[0].digest,
        form=REVISION,
        data=data_digest,
        architecture=plan.architecture_digest,
        layers=plan.layers,
        execution=plan.execution.model_dump(),
    )
    return digest_of(key.model_dump(mode="json"))


def failure_of(error: Exception, model: str | None = None) -> Failure:
    """What is said of a check that raised; a traceback stands beside what it did not mean to raise."""
    if isinstance(error, AuditError):
        return Failure(reason=str(error), model=model)
    return Failure(reason=f"{type(error).__name__}: {error}", model=model, traceback=_frames(error))


def _frames(error: Exception) -> str:
    """The traceback without paths of this machine."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames]
    return "\n".join([*lines, f"{type(error).__name__}: {error}"])
