"""One unit of work: one check on one model. The one seam between what an audit asks for and where it is computed."""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from auditor.checks.check import AnyCheck
from auditor.checks.sets import ExampleSet, Sets
from auditor.checks.subject import Subject
from auditor.digests import digest_of
from auditor.errors import AuditError, UsageError
from auditor.models.canonical_form import REVISION
from auditor.models.memory import batch_sizes, out_of_memory
from auditor.records.base import Frozen
from auditor.records.plan import Plan, PlannedCheck, PlannedModel
from auditor.records.score import Failure, Score

Result = TypeVar("Result")


class UnitSpec(Frozen):
    """What is to be computed, in full: with the plan, another process or machine can do it.

    Attributes:
        check: as planned, with its settings and seed.
        model: as planned; a decoy at one of its strengths.
        key: digest of everything that the score depends on.
    """

    check: PlannedCheck
    model: PlannedModel
    key: str


class Executor(Protocol):
    """Computes units of work, wherever that may be."""

    def run(self, unit: UnitSpec) -> Score | Failure:
        """Compute one unit; what a check raises is a Failure.

        Units of one model come one after another, the original's first.
        """


@dataclass
class Loaded:
    """Models and data in memory: the original, the model measured last, and what checks learned from the original.

    Attributes:
        plan: of the audit.
        checks: by name.
        data: the example sets.
        subject: makes the subject of a planned model; called only when a score has to be computed.
    """

    plan: Plan
    checks: Mapping[str, AnyCheck]
    data: Sets[ExampleSet]
    subject: Callable[[PlannedModel], Subject]
    _artefacts: dict[str, object] = field(default_factory=dict)
    _original: Subject | None = None
    _held: tuple[PlannedModel, Subject] | None = None

    def score(self, unit: UnitSpec, batch_size: int) -> Score:
        """Measure one model by one check."""
        check, planned = self.checks[unit.check.name], unit.check
        settings = check.settings_type.model_validate(planned.settings)
        if check.name not in self._artefacts:
            original = _in_batches(self.original(), batch_size)
            self._artefacts[check.name] = check.prepare(original, self.data, settings, planned.seed)
        subject = _in_batches(self._of(unit.model), batch_size)
        # A check that opens the model looks below its guard: a guard hides no weights.
        form = subject.unguarded() if check.opens else subject
        return check.score(form, self._artefacts[check.name], self.data, settings, planned.seed)

    def original(self) -> Subject:
        """The subject of the original, which stays: checks learn from it when they are first asked for."""
        if self._original is None:
            self._original = self.subject(self.plan.models_of("original")[0])
        return self._original

    def _of(self, model: PlannedModel) -> Subject:
        if model.role == "original":
            return self.original()
        if self._held is None or self._held[0] != model:
            # The model before goes first: two beside the original would not fit where one does.
            self._held = None
            self._held = model, self.subject(model)
        return self._held[1]


def run_unit(unit: UnitSpec, loaded: Loaded) -> Score | Failure:
    """The score of one unit, or why there is none.

    Where memory runs out the score comes from smaller batches, and says so.
    """
    return contained(lambda: _in_memory(unit, loaded), unit.model.name)


def contained(work: Callable[[], Result], model: str | None = None) -> Result | Failure:
    """What some work gives that runs code of a check, or why there is nothing.

    Args:
        work: raises whatever it may.
        model: that it was done on, where it was done on one.
    """
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - a check's crash is data: it reaches the verdict as missing coverage
        return failure_of(error, model)


def _in_memory(unit: UnitSpec, loaded: Loaded) -> Score:
    """Raises UsageError where memory ran out with the smallest batch, too."""
    wanted, *smaller = batch_sizes(loaded.plan.execution.batch_size)
    # Bare weights are not run in batches.
    for size in [wanted, *smaller] if loaded.plan.layers else [wanted]:
        try:
            score = loaded.score(unit, size)
        # torch's errors of memory are RuntimeErrors.
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            continue
        words = f"in batches of {size} instead of {wanted}, since memory ran out"
        return score if size == wanted else score.model_copy(update={"deviation": words})
    tried = f", also in batches of {size} instead of {wanted}" if size != wanted else ""
    raise UsageError(f"memory ran out{tried}; give the machine more, or audit.batch_size a smaller value")


def _in_batches(subject: Subject, size: int) -> Subject:
    # Each of the two has a batch size of its own, and the check decides which it takes.
    for form in (subject, subject.unguarded()):
        form.batch_size = size
    return subject


class _Key(Frozen):
    """Everything a score depends on."""

    # Another version may measure another number under the same name.
    auditor_version: str
    check: str
    provider: str
    settings: dict[str, object]
    seed: int
    model: str
    original: str
    form: int
    data: str
    architecture: str | None
    layers: tuple[str, ...]
    execution: dict[str, object]


def unit_of(plan: Plan, model: PlannedModel, planned: PlannedCheck, data_digest: str) -> UnitSpec:
    """The unit of one check and one model, with the digest under which its score is stored.

    Editing anything that the score depends on makes another digest.
    """
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
        # Device, type of numbers, threads and batch size all move the last digits.
        execution=plan.execution.model_dump(),
    )
    return UnitSpec(check=planned, model=model, key=digest_of(key.model_dump(mode="json")))


def failure_of(error: Exception, model: str | None = None) -> Failure:
    """What is said of a check that raised; a traceback stands beside what it did not mean to raise."""
    if isinstance(error, AuditError):
        return Failure(reason=str(error), model=model)
    return Failure(reason=f"{type(error).__name__}: {error}", model=model, traceback=_frames(error))


def _frames(error: Exception) -> str:
    """The traceback without paths of this machine."""
    frames = traceback.extract_tb(error.__traceback__)
    # Folders name the user, and would make equal audits differ between machines.
    lines = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames]
    return "\n".join([*lines, f"{type(error).__name__}: {error}"])
