"""Which tasks there are, which of them a request is about, and what its checks are."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from auditor import plugins
from auditor.checks import registry as checks
from auditor.checks.check import AnyCheck
from auditor.checks.subject import lacking
from auditor.errors import SpecError
from auditor.loading.transformers_directory import task_of
from auditor.models.lineup import Lineup
from auditor.models.references import Workshop
from auditor.records.spec import AuditSpec
from auditor.tasks.task import AnyMaterial, AnyTask, Task
from auditor.tasks.weights_only import WeightsOnly

GROUP = "unlearning_auditor.tasks"
_NOUN = "task"


def names() -> tuple[str, ...]:
    """Names of the installed tasks whose models are run, sorted, without importing any."""
    # A name that two packages register is refused where it is loaded; a list of names has it once.
    return tuple(dict.fromkeys(entry.name for entry in plugins.registered(GROUP)))


def load(name: str) -> AnyTask:
    """Import and make one task.

    Raises:
        SpecError: no such task, or one that cannot be loaded or does not carry the name it is registered under.
    """
    # Before the entry points: no package can take the place of the task that runs nothing.
    if name == WeightsOnly.name:
        return WeightsOnly()
    entry = plugins.named(GROUP, name, _NOUN)
    kind = plugins.loaded(entry, _NOUN)
    if not isinstance(kind, type) or not issubclass(kind, Task) or getattr(kind, "name", None) != name:
        raise SpecError(f"the entry point {name!r} ({entry.value}) does not give a task of that name")
    try:
        return kind()
    # A class with an abstract method left, or one that wants arguments.
    except TypeError as error:
        raise plugins.cannot_be_loaded(entry, _NOUN, error) from error


def material_of(spec: AuditSpec, lineup: Lineup, given: Mapping[str, object], base: Path) -> AnyMaterial:
    """Sets and structure by the line-up's task; bare weights where something is missing to run the models."""
    found = _asked(lineup.task, spec).material(spec, lineup, given, base)
    if found is None:
        found = WeightsOnly().material(spec, lineup, given, base)
    return replace(found, notes=(*_same_twice(lineup), *found.notes))


def workshop(spec: AuditSpec, base: Path) -> Workshop:
    """The workshop of a request: of the task or the transformers directory that it names, else of image classifiers.

    Raises:
        SpecError: a field that is needed is not given.
    """
    return _asked(spec.declared_task or _recognised(spec, base), spec).workshop(spec, base)


def _asked(name: str, spec: AuditSpec) -> AnyTask:
    """The task of a request, which names it only where the models do not."""
    task = load(name)
    if spec.declared_task is not None and task.recognised:
        raise SpecError(
            f"models.task = {name!r}, which is seen from the models themselves; leave it out, or name your class as "
            "module.py:Class"
        )
    return task


def _recognised(spec: AuditSpec, base: Path) -> str:
    ground = spec.models.base or spec.models.original
    return task_of(base / ground) if ground is not None and (base / ground).is_dir() else "classification"


def checks_of(task: AnyTask, wanted: Iterable[str] | None = None) -> list[AnyCheck]:
    """The wanted checks, or all that can run on the task's subjects, in alphabetical order."""
    found = checks.load_all(wanted, task.name)
    return found if wanted is not None else [check for check in found if not lacking(task.subject_type, check.asks)]


def tasks_of(check: AnyCheck) -> tuple[str, ...]:
    """Names of the installed tasks that a check serves, that of bare weights last."""
    return tuple(
        name
        for name in (*names(), WeightsOnly.name)
        if checks.serves(check, name) and not lacking(load(name).subject_type, check.asks)
    )


def _same_twice(lineup: Lineup) -> list[str]:
    """A line where original and unlearned are one model; none where no unlearned model is judged."""
    if "unlearned" not in lineup.entries:
        return []
    original = lineup.entries["original"]
    pair = original.planned, lineup.entries["unlearned"].planned
    # A line and no error: an unlearning that changed nothing is what an audit may be asked about.
    if pair[0].digest != pair[1].digest:
        return []
    return [f"the unlearned model holds the same {original.holds} as the original: was one file given twice?"]
